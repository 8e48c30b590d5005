//! The loop that restores a table: reads the changelog, and brings it into RocksDB as sorted files, which costs half of
//! what write batches do.

use std::path::Path;
use std::time::Instant;

use rocksdb::{DB, IngestExternalFileOptions, Options, SstFileWriter};

use crate::kafka::{BATCH_RECORDS, BATCH_WAIT, Progress, Watch, assign_from_start, consumer};
use crate::raw::BatchQueue;
use crate::tallies::{self, Changes, open_store, write_store_key};
use crate::{LoopArguments, Result};

/// Records that are sorted at a time; bounds the memory.
const RUN_RECORDS: usize = 250_000;

pub(crate) fn run(arguments: &LoopArguments) -> Result<()> {
    let store = open_store(&arguments.dir)?;
    let consumer = consumer(&arguments.broker, &arguments.app)?;
    let mut progress = Progress::to_present_end(&consumer, &arguments.input)?;
    assign_from_start(&consumer, &[&arguments.input])?;
    let mut queue = BatchQueue::new(consumer, BATCH_RECORDS);
    let mut watch = Watch::new();
    let mut run = Run::default();
    while !progress.is_done() {
        let before = run.records.len();
        queue.each(BATCH_WAIT, |record| {
            run.push(record.partition, record.key, record.value);
            progress.took(record.partition, record.offset);
            Ok(())
        })?;
        watch.check(Instant::now(), run.records.len() > before)?;
        if run.records.len() >= RUN_RECORDS {
            run.ingest(&store, &arguments.dir)?;
        }
    }
    run.ingest(&store, &arguments.dir)?;
    tallies::write(&store, &Changes::default(), &progress.next)
}

/// Records of the changelog in the order in which they came; keys and values lie one behind the other in `bytes`.
#[derive(Default)]
struct Run {
    bytes: Vec<u8>,
    records: Vec<Piece>,
    store_key: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Run {
    fn push(&mut self, partition: i32, key: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        write_store_key(partition, key, &mut self.store_key);
        self.bytes.extend_from_slice(&self.store_key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.records.push(Piece {
            start,
            key_end,
            end: self.bytes.len(),
        });
    }

    fn ingest(&mut self, store: &DB, dir: &Path) -> Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let Run { bytes, records, .. } = self;
        let key = |piece: &Piece| &bytes[piece.start..piece.key_end];
        // Of equal keys the last to come wins.
        records.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(b.start.cmp(&a.start)));
        records.dedup_by(|next, kept| key(next) == key(kept));

        let options = Options::default();
        let file = dir.join("ingest.sst");
        let mut writer = SstFileWriter::create(&options);
        writer.open(&file)?;
        for piece in records.iter() {
            match &bytes[piece.key_end..piece.end] {
                [] => writer.delete(key(piece))?,
                value => writer.put(key(piece), value)?,
            }
        }
        writer.finish()?;
        let mut ingest = IngestExternalFileOptions::default();
        ingest.set_move_files(true);
        store.ingest_external_file_opts(&ingest, vec![file])?;
        records.clear();
        bytes.clear();
        Ok(())
    }
}
