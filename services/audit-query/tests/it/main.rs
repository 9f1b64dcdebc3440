//! SQL over an archive, and the service on a real nats-server.

#[cfg(test)]
mod json;
#[cfg(test)]
mod selected;
#[cfg(test)]
mod service;
#[cfg(test)]
mod sql;
#[cfg(test)]
mod written;
