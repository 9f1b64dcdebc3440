//! The path of an intent, end to end, on a real nats-server with authentication.

mod archive;
mod asking;
mod bundles;
mod deciding;
mod dictionary;
mod exports;
mod fingerprints;
mod freeze;
mod leaks;
mod outsiders;
mod path;
mod policy;
mod proofs;
mod reconcile;
mod repeats;
mod strangers;
mod tampering;
mod votes;
mod windows;
mod workers;
