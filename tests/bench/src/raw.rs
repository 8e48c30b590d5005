//! The calls of librdkafka and of the system that no safe crate offers. The only file of the benchmarks with `unsafe`.
#![allow(unsafe_code, reason = "each block carries its argument")]

use std::ffi::{CStr, CString, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::process::Child;
use std::ptr;
use std::slice;
use std::time::Duration;

use nix::libc;
use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::util::IntoOpaque;

use crate::Result;
use crate::measured::Usage;

/// `RD_KAFKA_PARTITION_UA`, a macro of librdkafka: the partitioner chooses.
const UNASSIGNED: i32 = -1;

/// A record that was read, as it lies in librdkafka's memory.
pub(crate) struct Fetched<'a> {
    /// Equal for records of the same topic, for as long as the consumer lives.
    pub(crate) topic: TopicTag,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// A topic, to be compared without looking at its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicTag(*mut rd::rd_kafka_topic_t);

impl Fetched<'_> {
    pub(crate) fn topic_name(&self) -> String {
        // SAFETY: the topic of a message lives as long as the message, from which `self` borrows.
        let name = unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(self.topic.0)) };
        name.to_string_lossy().into_owned()
    }
}

/// Everything that a consumer is assigned, from one queue, in batches: a third less CPU than one record a call.
pub(crate) struct BatchQueue {
    queue: *mut rd::rd_kafka_queue_t,
    batch: Vec<*mut rd::rd_kafka_message_t>,
    // Dropped after `drop` below has given the queue back.
    _consumer: BaseConsumer,
}

impl BatchQueue {
    pub(crate) fn new(consumer: BaseConsumer, batch_records: usize) -> BatchQueue {
        // SAFETY: the client is alive, and has a consumer queue since it has a group.id.
        let queue = unsafe { rd::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        assert!(!queue.is_null(), "a consumer without group.id has no queue");
        BatchQueue {
            queue,
            batch: vec![ptr::null_mut(); batch_records],
            _consumer: consumer,
        }
    }

    /// Hands over what arrives within `timeout`, at most one batch.
    pub(crate) fn each(
        &mut self,
        timeout: Duration,
        mut f: impl FnMut(Fetched<'_>) -> Result<()>,
    ) -> Result<()> {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: queue and buffer are alive, and the buffer is as long as it is said to be.
        let count = unsafe {
            rd::rd_kafka_consume_batch_queue(
                self.queue,
                timeout_ms,
                self.batch.as_mut_ptr(),
                self.batch.len(),
            )
        };
        let count = usize::try_from(count).map_err(|_| "librdkafka could not consume")?;
        let mut result = Ok(());
        for &message in &self.batch[..count] {
            if result.is_ok() {
                // SAFETY: librdkafka has filled `count` entries with messages, which live until they are destroyed below.
                result = unsafe { fetched(&*message) }.and_then(&mut f);
            }
            // SAFETY: as above; nothing borrows from the message any more, and it is destroyed once.
            unsafe { rd::rd_kafka_message_destroy(message) };
        }
        result
    }
}

/// # Safety
/// `message` was filled by librdkafka.
unsafe fn fetched(message: &rd::rd_kafka_message_t) -> Result<Fetched<'_>> {
    if message.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(format!(
            "partition {}: {}",
            message.partition,
            RDKafkaErrorCode::from(message.err)
        )
        .into());
    }
    // SAFETY: pointers and lengths belong together, as the caller promises.
    let (key, value) = unsafe {
        (
            bytes(message.key, message.key_len),
            bytes(message.payload, message.len),
        )
    };
    Ok(Fetched {
        topic: TopicTag(message.rkt),
        partition: message.partition,
        offset: message.offset,
        key,
        value,
    })
}

/// # Safety
/// `start` is null, or points to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> &'a [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { slice::from_raw_parts(start.cast(), len) }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        // SAFETY: got in `new`, given back once, before the consumer is dropped.
        unsafe { rd::rd_kafka_queue_destroy(self.queue) };
    }
}

/// A topic to produce to, without a look-up of its name for each record. It must not outlive its producer.
pub(crate) struct TopicHandle(*mut rd::rd_kafka_topic_t);

// SAFETY: librdkafka's topic handles are counted references that any thread may use.
unsafe impl Send for TopicHandle {}

impl TopicHandle {
    pub(crate) fn new<C: ProducerContext>(
        producer: &BaseProducer<C>,
        topic: &str,
    ) -> Result<TopicHandle> {
        let name = CString::new(topic)?;
        // SAFETY: the client is alive; no configuration means that of the client.
        let handle = unsafe {
            rd::rd_kafka_topic_new(
                producer.client().native_ptr(),
                name.as_ptr(),
                ptr::null_mut(),
            )
        };
        if handle.is_null() {
            return Err(format!("librdkafka has no handle for topic {topic}").into());
        }
        Ok(TopicHandle(handle))
    }

    /// Puts a copy of the record into the queue of the producer; false when that has no room. Without a partition, the
    /// partitioner of the producer's settings chooses one. The delivery report carries `opaque`.
    pub(crate) fn produce(
        &self,
        partition: Option<i32>,
        key: &[u8],
        value: &[u8],
        opaque: usize,
    ) -> Result<bool> {
        // SAFETY: the handle is alive, and librdkafka copies key (always) and value (MSG_F_COPY) before it returns.
        let status = unsafe {
            rd::rd_kafka_produce(
                self.0,
                partition.unwrap_or(UNASSIGNED),
                rd::RD_KAFKA_MSG_F_COPY,
                value.as_ptr().cast_mut().cast(),
                value.len(),
                key.as_ptr().cast(),
                key.len(),
                opaque.into_ptr(),
            )
        };
        if status == 0 {
            return Ok(true);
        }
        // SAFETY: reads a variable of this thread.
        match unsafe { rd::rd_kafka_last_error() } {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__QUEUE_FULL => Ok(false),
            error => Err(format!("cannot produce: {}", RDKafkaErrorCode::from(error)).into()),
        }
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: got in `new`, given back once.
        unsafe { rd::rd_kafka_topic_destroy(self.0) };
    }
}

/// Waits for the end of a child. [`Child::wait`] does not tell what it used.
pub(crate) fn wait_with_usage(child: Child) -> io::Result<Usage> {
    let pid = child.id().cast_signed();
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers lead to places of the right type. `child` is taken, so nobody else waits for this process.
    let ended = unsafe { libc::wait4(pid, &mut status, 0, usage.as_mut_ptr()) };
    if ended != pid {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain numbers, zeroed before and filled by wait4.
    let usage = unsafe { usage.assume_init() };
    let time = |t: libc::timeval| Duration::new(t.tv_sec.cast_unsigned(), t.tv_usec as u32 * 1000);
    let rss_unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    Ok(Usage {
        success: libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        peak_rss_bytes: usage.ru_maxrss.cast_unsigned() * rss_unit,
    })
}
