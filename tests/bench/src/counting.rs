//! The loop over keyed input: parse, count, and every 100 ms hand what has changed to a thread that commits it while the
//! next records are counted.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Instant;

use rdkafka::consumer::Consumer;

use crate::kafka::{BATCH_RECORDS, BATCH_WAIT, Progress, Watch, assign_from_start, consumer};
use crate::orders::Order;
use crate::raw::BatchQueue;
use crate::tallies::{Tallies, open_store};
use crate::transaction::{Sealed, Transactor};
use crate::{LoopArguments, Result};

pub(crate) fn run(arguments: &LoopArguments) -> Result<()> {
    let store = Arc::new(open_store(&arguments.dir)?);
    let consumer = consumer(&arguments.broker, &arguments.app)?;
    let mut progress = Progress::to_present_end(&consumer, &arguments.input)?;
    let group = consumer
        .group_metadata()
        .ok_or("the consumer has no group")?;
    let mut commits = Commits::start(Transactor::new(
        &arguments.broker,
        &arguments.app,
        &arguments.changelog(),
        group,
        store.clone(),
    )?);
    assign_from_start(&consumer, &[&arguments.input])?;

    let topic: Arc<str> = arguments.input.as_str().into();
    let mut tallies = Tallies::new(store);
    let mut queue = BatchQueue::new(consumer, BATCH_RECORDS);
    let mut last_commit = Instant::now();
    let mut watch = Watch::new();
    while !progress.is_done() {
        let mut taken = 0;
        queue.each(BATCH_WAIT, |record| {
            let order: Order<'_> = serde_json::from_slice(record.value)?;
            tallies.add(
                record.partition,
                record.key,
                f64::from(order.amount) * order.price,
            )?;
            progress.took(record.partition, record.offset);
            taken += 1;
            Ok(())
        })?;
        let now = Instant::now();
        watch.check(now, taken > 0)?;
        if now - last_commit >= arguments.commit_interval()
            && let Some(mut sealed) = commits.try_take_empty()?
        {
            last_commit = now;
            tallies.seal(&mut sealed.changes);
            sealed.add_positions(&topic, &progress.next);
            commits.hand_over(sealed)?;
        }
    }
    let mut sealed = commits.take_empty()?;
    tallies.seal(&mut sealed.changes);
    sealed.add_positions(&topic, &progress.next);
    commits.hand_over(sealed)?;
    commits.finish()
}

/// A thread with at most one commit in flight. Its one buffer goes to and fro.
struct Commits {
    to_commit: SyncSender<Sealed>,
    committed: Receiver<Sealed>,
    thread: thread::JoinHandle<Result<()>>,
}

impl Commits {
    fn start(transactor: Transactor) -> Commits {
        let (to_commit, sealed) = sync_channel::<Sealed>(1);
        let (done, committed) = sync_channel(1);
        // Room for one: the buffer that is there from the start.
        let _ = done.send(Sealed::default());
        let thread = thread::spawn(move || {
            for mut sealed in sealed {
                transactor.begin()?;
                transactor.commit(&sealed)?;
                sealed.clear();
                if done.send(sealed).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Commits {
            to_commit,
            committed,
            thread,
        }
    }

    /// The buffer to fill, unless a commit is in flight.
    fn try_take_empty(&mut self) -> Result<Option<Sealed>> {
        match self.committed.try_recv() {
            Ok(sealed) => Ok(Some(sealed)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err("the commits have ended".into()),
        }
    }

    fn take_empty(&mut self) -> Result<Sealed> {
        self.committed
            .recv()
            .map_err(|_| "the commits have ended".into())
    }

    fn hand_over(&self, sealed: Sealed) -> Result<()> {
        self.to_commit
            .send(sealed)
            .map_err(|_| "the commits have ended".into())
    }

    /// Waits for the last commit.
    fn finish(self) -> Result<()> {
        drop(self.to_commit);
        self.thread
            .join()
            .map_err(|_| "the commits have panicked")?
    }
}
