//! Judgement as a whole: small bundles made here, and the sample company.

mod approved;
mod bundle;
mod cases;
mod cookbook;
mod detectors;
mod diff;
mod golden;
mod guardrails;
mod labels;
mod lint;
mod mandates;
mod properties;
mod quotas;
mod replay;
mod rules;
mod sample;
mod sensitive;
mod silence;
mod suggest;
mod support;
mod tiers;
mod tricks;
mod windows;
