//! Judgement as a whole: small bundles made here, and the sample company.

mod bundle;
mod cases;
mod golden;
mod labels;
mod lint;
mod mandates;
mod properties;
mod rules;
mod sample;
mod sensitive;
mod support;
mod tiers;
mod tricks;
