//! What an archive lies in: a bucket, which promises all that a directory does, against a
//! real server of the S3 protocol and a network that fails; and a disk that forgets.

mod faults;
mod path;
mod races;
mod server;
mod service;
mod tail;
mod world;
