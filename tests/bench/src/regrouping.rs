//! The loop with a repartition topic, both stages in one: orders are written again under their account's key, into the
//! transaction that is open, and counted when they come back. One consumer, one producer, one thread of our own.

use std::sync::Arc;
use std::time::Instant;

use rdkafka::consumer::Consumer;
use tanist_tests::raw::RawClient;

use crate::kafka::{
    BATCH_RECORDS, BATCH_WAIT, PARTITIONS, Progress, Watch, assign_from_start, consumer,
};
use crate::orders::{AccountOf, Order};
use crate::raw::{BatchQueue, TopicTag};
use crate::tallies::{Tallies, open_store};
use crate::transaction::{Sealed, Transactor};
use crate::{LoopArguments, Result};

pub(crate) fn run(arguments: &LoopArguments) -> Result<()> {
    let store = Arc::new(open_store(&arguments.dir)?);
    let repartition = format!("{}-repartition", arguments.app);
    RawClient::connect(&arguments.broker).create_topic(&repartition, PARTITIONS, &[]);
    let consumer = consumer(&arguments.broker, &arguments.app)?;
    let mut progress = Progress::to_present_end(&consumer, &arguments.input)?;
    let group = consumer
        .group_metadata()
        .ok_or("the consumer has no group")?;
    let transactor = Transactor::new(
        &arguments.broker,
        &arguments.app,
        &arguments.changelog(),
        group,
        store.clone(),
    )?;
    let by_account = transactor.topic(&repartition)?;
    assign_from_start(&consumer, &[&arguments.input, &repartition])?;

    let input: Arc<str> = arguments.input.as_str().into();
    let repartition: Arc<str> = repartition.into();
    let mut counted = Counted {
        next: vec![0; PARTITIONS as usize],
        records: 0,
    };
    let mut input_tag: Option<TopicTag> = None;
    let mut tallies = Tallies::new(store);
    let mut sealed = Sealed::default();
    let mut queue = BatchQueue::new(consumer, BATCH_RECORDS);
    let mut last_commit = Instant::now();
    let mut watch = Watch::new();
    transactor.begin()?;
    loop {
        let mut taken = 0;
        queue.each(BATCH_WAIT, |record| {
            taken += 1;
            if input_tag.is_none() && record.topic_name() == *input {
                input_tag = Some(record.topic);
            }
            if input_tag == Some(record.topic) {
                let order: AccountOf<'_> = serde_json::from_slice(record.value)?;
                transactor.output(&by_account, order.account_id.as_bytes(), record.value)?;
                progress.took(record.partition, record.offset);
            } else {
                let order: Order<'_> = serde_json::from_slice(record.value)?;
                tallies.add(
                    record.partition,
                    record.key,
                    f64::from(order.amount) * order.price,
                )?;
                counted.took(record.partition, record.offset);
            }
            Ok(())
        })?;
        transactor.serve_reports();
        let now = Instant::now();
        watch.check(now, taken > 0)?;
        let all_counted = counted.records == progress.records();
        if all_counted || now - last_commit >= arguments.commit_interval() {
            last_commit = now;
            tallies.seal(&mut sealed.changes);
            sealed.add_positions(&input, &progress.next);
            sealed.add_positions(&repartition, &counted.next);
            transactor.commit(&sealed)?;
            sealed.clear();
            if all_counted {
                return Ok(());
            }
            transactor.begin()?;
        }
    }
}

/// What came back.
struct Counted {
    next: Vec<i64>,
    records: u64,
}

impl Counted {
    fn took(&mut self, partition: i32, offset: i64) {
        self.next[partition as usize] = offset + 1;
        self.records += 1;
    }
}
