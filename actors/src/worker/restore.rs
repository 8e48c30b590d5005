//! Restoring: reads the changelogs of a shard from where its store stands to their end.

use std::sync::Arc;

use tanist_cluster::{Offset, ShardId};
use tokio::sync::Notify;

use super::Worker;
use super::activate::ActivateError;
use crate::group::GroupSpec;
use crate::port::{Store, TopicPartition};
use crate::shard::{ShardState, ShardStatus};
use crate::table::{INPUTS_KEY, Replay};

/// Bytes of changelog that are put into the store at a time. More costs memory, in every shard that is restored, and
/// saves nothing.
const CHUNK_BYTES: usize = 1 << 20;
/// Records that are pulled at a time.
const BATCH_RECORDS: usize = 1000;

/// A changelog that has to be read.
struct Gap {
    /// Its place in the [`Replay`].
    changelog: usize,
    partition: TopicPartition,
    /// Where the store stands after a commit, by whose last record the changelog is recognised; `None` if it has
    /// nothing of it, or is in the middle of a restore.
    position: Option<Offset>,
    begin: Offset,
    end: Offset,
}

impl Worker {
    /// Brings `store` up to the end of its changelogs.
    pub(super) async fn restore(
        &self,
        shard: &ShardId,
        group: &GroupSpec,
        store: &Arc<dyn Store>,
        replay: &mut Replay,
    ) -> Result<(), ActivateError> {
        let gaps = self.gaps(shard, group, replay).await?;
        let of = gaps
            .iter()
            .map(|gap| (gap.end.0 - gap.begin.0) as u64)
            .sum();
        let mut records = 0;
        for gap in &gaps {
            self.report_restoring(shard, records, of);
            self.close_gap(gap, store, replay, &mut records, &|records| {
                self.report_restoring(shard, records, of);
            })
            .await?;
        }
        if records > 0 {
            tracing::info!(%shard, records, "restored");
        }
        Ok(())
    }

    fn report_restoring(&self, shard: &ShardId, records: u64, of: u64) {
        self.desk.report(ShardStatus {
            shard: shard.clone(),
            state: ShardState::Restoring { records, of },
            inputs: Default::default(),
            records: 0,
        });
    }

    async fn gaps(
        &self,
        shard: &ShardId,
        group: &GroupSpec,
        replay: &Replay,
    ) -> Result<Vec<Gap>, ActivateError> {
        let partition = |topic| TopicPartition::new(self.desk.topic_name(topic), shard.partition);
        let partitions: Vec<_> = group
            .tables
            .iter()
            .map(|table| partition(table.changelog))
            .collect();
        let bounds = self.broker.offsets(&partitions).await?;
        let mut gaps = Vec::new();
        for (changelog, partition) in partitions.into_iter().enumerate() {
            let bounds = bounds.get(&partition).cloned().unwrap_or_default();
            let position = replay.state().changelogs.get(&partition.topic).copied();
            if let Some(position) = position
                && !(bounds.start..=bounds.end).contains(&position)
            {
                return Err(ActivateError::ChangelogTruncated {
                    partition,
                    position,
                    start: bounds.start,
                    end: bounds.end,
                });
            }
            let begin = position.unwrap_or(bounds.start);
            if begin < bounds.end {
                let end = bounds.end;
                let position = position.filter(|_| !replay.state().restoring);
                gaps.push(Gap {
                    changelog,
                    partition,
                    position,
                    begin,
                    end,
                });
            }
        }
        Ok(gaps)
    }

    async fn close_gap(
        &self,
        gap: &Gap,
        store: &Arc<dyn Store>,
        replay: &mut Replay,
        records: &mut u64,
        progress: &dyn Fn(u64),
    ) -> Result<(), ActivateError> {
        let ready = Arc::new(Notify::new());
        // One record before the position: by it the changelog is recognised.
        let from = gap
            .position
            .filter(|position| position.0 > 0)
            .map_or(gap.begin, |position| Offset(position.0 - 1));
        let mut source = self.log.open(&gap.partition, from, ready.clone())?;
        let mut next = gap.begin;
        while next < gap.end {
            let pulled = source.pull(BATCH_RECORDS)?;
            let nothing = pulled.batch.is_none() && pulled.reached.is_none();
            if let Some(batch) = pulled.batch {
                for index in 0..batch.len() {
                    let record = batch.get(index);
                    if record.offset < gap.begin {
                        recognise(gap, record.key)?;
                        continue;
                    }
                    replay.record(gap.changelog, record.key.unwrap_or_default(), record.value)?;
                    next = record.offset.next();
                    *records += 1;
                }
            }
            next = pulled.reached.map_or(next, |reached| next.max(reached));
            replay.reached(gap.changelog, next);
            if replay.pending_bytes() >= CHUNK_BYTES || next >= gap.end {
                replay.restoring(next < gap.end);
                self.take_in(store, replay).await?;
                progress(*records);
            }
            if nothing {
                ready.notified().await;
            } else {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Puts what has been read into the store, off this thread where that takes long: others work on it (S5).
    async fn take_in(
        &self,
        store: &Arc<dyn Store>,
        replay: &mut Replay,
    ) -> Result<(), ActivateError> {
        let (store, changes) = (store.clone(), replay.take());
        self.off_thread(move || store.apply(&changes)).await
    }
}

/// The last record before a store's position is the one that the commit ended with, unless compaction took it since.
fn recognise(gap: &Gap, key: Option<&[u8]>) -> Result<(), ActivateError> {
    if key == Some(INPUTS_KEY) {
        return Ok(());
    }
    Err(ActivateError::ForeignChangelog {
        partition: gap.partition.clone(),
        position: gap.begin,
    })
}
