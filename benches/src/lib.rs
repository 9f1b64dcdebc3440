//! Benchmarks. A figure is a ratio against a baseline measured in the same run, on the
//! same machine, with the same server settings; absolute figures are printed beside it.

pub mod load;
pub mod relay;
pub mod report;
pub mod stage;
