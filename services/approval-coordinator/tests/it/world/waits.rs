//! Waiting until something has come about.

use anyhow::Error;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use countersign_domain::approvals::Gathering;
use countersign_runtime::bus::Bucket;
use countersign_runtime::bus::layout::{APPROVALS, Durable};
use countersign_schemas::{ApprovalId, headers};

use super::*;

impl World {
    /// Takes the next message that waits for a coordinator and gives it back, so that it
    /// comes again as after a death; its sequence.
    pub(crate) async fn take_and_give_back(&self, durable: Durable) -> Result<u64> {
        let bus = self.as_coordinator().await?;
        let stream = durable.stream.name();
        let consumer: PullConsumer = bus
            .jetstream()
            .get_consumer_from_stream(durable.name, stream)
            .await?;
        let message = eventually("a message", || async {
            let mut taken = consumer.fetch().max_messages(1).messages().await?;
            taken.next().await.transpose().map_err(Error::from_boxed)
        })
        .await?;
        let info = message.info().map_err(Error::from_boxed)?;
        let back = AckKind::Nak(None);
        message.ack_with(back).await.map_err(Error::from_boxed)?;
        Ok(info.stream_sequence)
    }

    /// How many verdicts were delivered and are neither done nor put aside.
    pub(crate) async fn verdicts_waiting(&self) -> Result<usize> {
        let bus = self.as_coordinator().await?;
        let durable = layout::COORDINATOR_EVENTS;
        let stream = bus.jetstream().get_stream(durable.stream.name()).await?;
        Ok(stream.consumer_info(durable.name).await?.num_ack_pending)
    }

    /// Waits until every verdict is done, whether it came once or again.
    pub(crate) async fn until_verdicts_are_done(&self) -> Result<()> {
        let bus = self.as_coordinator().await?;
        let durable = layout::COORDINATOR_EVENTS;
        let stream = bus.jetstream().get_stream(durable.stream.name()).await?;
        let look = || async {
            let info = stream.consumer_info(durable.name).await?;
            let left = info.num_pending + u64::try_from(info.num_ack_pending)?;
            Ok((left == 0).then_some(()))
        };
        eventually("every verdict is done", look).await
    }

    /// Waits until a withdrawal was given back and delivered again.
    pub(crate) async fn until_withdrawals_came_back(&self) -> Result<()> {
        let bus = self.as_coordinator().await?;
        let durable = layout::COORDINATOR_INTENTS;
        let stream = bus.jetstream().get_stream(durable.stream.name()).await?;
        let look = || async {
            let info = stream.consumer_info(durable.name).await?;
            Ok((info.num_redelivered > 0).then_some(()))
        };
        eventually("a withdrawal that comes again", look).await
    }

    /// Waits until the timer of an approval has fired.
    pub(crate) async fn until_fired(&self, id: &ApprovalId) -> Result<()> {
        self.until_timer_fired("approval", id).await
    }

    /// Waits until the first item of a bundle of `billing` has its place.
    pub(crate) async fn until_gathered(&self, name: &str) -> Result<()> {
        let id = ApprovalId::for_bundle(&"billing".parse()?, &name.parse()?);
        let bucket = Bucket::new(&self.as_coordinator().await?, APPROVALS);
        let key = id.as_str().replace("b-", "g-");
        let look = || async { Ok(bucket.get(&key).await?) };
        eventually("a bundle", look).await.map(drop)
    }

    /// Waits until everything that follows from a whole bundle of `billing` is stored; its
    /// revision.
    pub(crate) async fn until_settled(&self, name: &str) -> Result<u64> {
        let id = ApprovalId::for_bundle(&"billing".parse()?, &name.parse()?);
        let bucket = Bucket::new(&self.as_coordinator().await?, APPROVALS);
        let key = id.as_str().replace("b-", "g-");
        eventually("a settled bundle", || async {
            let Some(entry) = bucket.get(&key).await? else {
                return Ok(None);
            };
            let bundle: Gathering = serde_json::from_slice(&entry.value)?;
            Ok(bundle.is_settled().then_some(entry.revision))
        })
        .await
    }

    /// Waits until a timer of this kind has fired.
    pub(crate) async fn until_timer_fired(&self, kind: &str, id: &ApprovalId) -> Result<()> {
        let bus = self.as_coordinator().await?;
        let subject = format!("timer.fired.{kind}.{id}");
        let look = || bus.last_by_subject(Stream::Timers, &subject);
        eventually(&subject, || async { Ok(look().await?) })
            .await
            .map(drop)
    }

    /// How long the bucket keeps an approval, in seconds, waited for.
    pub(crate) async fn life_in_bucket(&self, id: &ApprovalId) -> Result<String> {
        let bus = self.as_coordinator().await?;
        let key = format!("$KV.{APPROVALS}.{id}");
        let stream = format!("KV_{APPROVALS}");
        let look = || async {
            let last = ReplayFrom::LastPerSubject;
            let replay = bus.replay(&stream, &[key.as_str()], last).await?;
            let found = replay.messages().next().await.context("an entry")??;
            Ok(found.message.header(headers::TTL).map(str::to_owned))
        };
        eventually("the end of an entry's life", look).await
    }
}
