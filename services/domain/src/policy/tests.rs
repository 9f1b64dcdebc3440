//! Judgement as a whole: small bundles made here, and the sample company.

mod bundle;
mod rules;
mod sample;
mod sensitive;
mod support;
