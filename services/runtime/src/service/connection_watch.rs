//! Reports whether the connection stands.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::health::HealthPart;

/// How often the connection is looked at: a reading of a local value.
const EVERY: Duration = Duration::from_millis(500);

pub(super) async fn run(bus: Bus, part: HealthPart, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if bus.is_connected() {
            part.ready();
        } else {
            part.failing("not connected to NATS; trying again");
        }
    }
}
