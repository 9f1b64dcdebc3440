//! Services and server killed under load: nothing lost, nothing twice, always an end.

mod bundles;
mod freeze;
mod invariants;
mod kills;
mod load;
mod old_freeze;
mod quota;
mod rotation;
mod server;
mod vanishing;
mod windows;
