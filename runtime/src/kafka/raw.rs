//! The calls of librdkafka that the crate `rdkafka` has no form of, or none that is cheap enough: batches from the queue
//! of a partition, produce with a topic handle, delivery reports in batches and without busy waiting.
//!
//! The only file with `unsafe`, and those below it. What it rests on throughout: handles of librdkafka may be used by any thread at any time
//! (its documentation says so); each value here owns its handle, gives it back once, and holds the client that the
//! handle belongs to for as long as it lives.
#![expect(unsafe_code, reason = "this is the file for it")]

pub(super) mod topics;

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_vtype_t as Tag;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::RDKafkaRespErr;
use tanist_actors::record::Headers;
use tokio::sync::Notify;

use super::context::Context;

/// The queue of one partition of a consumer.
pub(super) struct PartitionQueue {
    queue: NonNull<rd::rd_kafka_queue_t>,
    /// Its address is with librdkafka until the callback is taken away in `drop`.
    ready: Arc<Notify>,
    client: Arc<BaseConsumer<Context>>,
}

// SAFETY: the queue may be used by any thread, see above; `Notify` and the client are `Send` and `Sync`.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// Takes the partition's records out of the consumer's common queue. To be called before the partition is assigned.
    ///
    /// `ready` is notified whenever the queue is no longer empty, and only then.
    pub(super) fn split(
        client: Arc<BaseConsumer<Context>>,
        topic: &str,
        partition: i32,
        ready: Arc<Notify>,
    ) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        let raw_client = client.client().native_ptr();
        // SAFETY: the client is alive and the name is a C string. Queue and topic handle that come back are ours, or null.
        //
        // Of a topic that is new to the client, its thread looks for the leaders once a second; but at once if it hears of
        // the topic by a handle. The partition keeps the topic when the handle is given back.
        let queue = NonNull::new(unsafe {
            let handle = rd::rd_kafka_topic_new(raw_client, topic.as_ptr(), ptr::null_mut());
            let queue = rd::rd_kafka_queue_get_partition(raw_client, topic.as_ptr(), partition);
            if !handle.is_null() {
                rd::rd_kafka_topic_destroy(handle);
            }
            queue
        })?;
        // SAFETY: the queue is alive. The opaque value points into `ready`, which this value holds; `drop` takes the
        // callback away first. librdkafka calls it with the queue locked, so none is running once it has been taken
        // away.
        unsafe {
            rd::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            rd::rd_kafka_queue_cb_event_enable(
                queue.as_ptr(),
                Some(notify),
                Arc::as_ptr(&ready).cast_mut().cast(),
            );
        }
        Some(Self {
            queue,
            ready,
            client,
        })
    }

    /// Takes what is there now, at most `max` records, ends and errors. If that is fewer than `max`, then the queue was
    /// empty, and `ready` is notified when it no longer is.
    pub(super) fn take(&mut self, max: usize) -> Messages {
        let mut messages = Vec::<Message>::with_capacity(max);
        // SAFETY: there is room for `max` pointers, which `Message` is one of. The first `count` have been written, not
        // null, and are ours. -1, an error, does not occur with a queue; it would count as none.
        unsafe {
            let count = rd::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                0,
                messages.as_mut_ptr().cast(),
                max,
            );
            messages.set_len(usize::try_from(count).unwrap_or(0));
        }
        Messages {
            messages,
            _client: self.client.clone(),
        }
    }

    /// What is notified when there is something to take.
    pub(super) fn ready(&self) -> &Notify {
        &self.ready
    }
}

unsafe extern "C" fn notify(_: *mut rd::rd_kafka_t, ready: *mut c_void) {
    // SAFETY: the pointer is the one given with the callback, see `PartitionQueue::split`.
    unsafe { &*ready.cast::<Notify>() }.notify_one();
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is alive until the second call, and not used after it.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Messages of one partition, in order.
pub(super) struct Messages {
    /// Before the client, so that they are given back before it.
    messages: Vec<Message>,
    _client: Arc<BaseConsumer<Context>>,
}

impl Messages {
    pub(super) fn as_slice(&self) -> &[Message] {
        &self.messages
    }

    /// Gives back those of which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Message) -> bool) {
        self.messages.retain(keep);
    }
}

/// A record, the end of a partition, or an error: what a queue holds.
#[repr(transparent)]
pub(super) struct Message(NonNull<rd::rd_kafka_message_t>);

impl Message {
    /// Why it is no record; `None` if it is one.
    #[inline]
    pub(super) fn error(&self) -> Option<RDKafkaErrorCode> {
        // SAFETY: the message is ours.
        unsafe { error_of(self.0.as_ptr()) }
    }

    /// What librdkafka says of the error.
    pub(super) fn reason(&self) -> String {
        // SAFETY: the text lives as long as the message.
        unsafe { text(rd::rd_kafka_message_errstr(self.0.as_ptr())) }
    }

    #[inline]
    pub(super) fn offset(&self) -> i64 {
        // SAFETY: the message is ours.
        unsafe { (*self.0.as_ptr()).offset }
    }

    #[inline]
    pub(super) fn key(&self) -> Option<&[u8]> {
        let message = self.0.as_ptr();
        // SAFETY: the message is ours, and the bytes live as long as it does.
        unsafe { bytes((*message).key, (*message).key_len) }
    }

    #[inline]
    pub(super) fn value(&self) -> Option<&[u8]> {
        let message = self.0.as_ptr();
        // SAFETY: the message is ours, and the bytes live as long as it does.
        unsafe { bytes((*message).payload, (*message).len) }
    }

    /// Milliseconds since the epoch; -1 if the record has none.
    #[inline]
    pub(super) fn timestamp(&self) -> i64 {
        // SAFETY: the message is alive; the kind of timestamp, which we do not ask for, may be null.
        unsafe { rd::rd_kafka_message_timestamp(self.0.as_ptr(), ptr::null_mut()) }
    }

    #[inline]
    pub(super) fn headers(&self) -> Headers {
        let mut raw = ptr::null_mut();
        // SAFETY: the message is alive; the headers remain its own. They are parsed by this call, at the first time.
        let error = unsafe { rd::rd_kafka_message_headers(self.0.as_ptr(), &mut raw) };
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Headers::new();
        }
        self.read_headers(raw)
    }

    #[cold]
    fn read_headers(&self, raw: *mut rd::rd_kafka_headers_t) -> Headers {
        let mut headers = Headers::new();
        for index in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the headers are those of this message; the three places are ours.
            let error = unsafe {
                rd::rd_kafka_header_get_all(raw, index, &mut name, &mut value, &mut size)
            };
            if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            // SAFETY: name and value live as long as the headers, and are copied.
            let (name, value) = unsafe { (text(name), bytes(value, size)) };
            headers.push(name, value.map(<[u8]>::to_vec));
        }
        headers
    }
}

impl Drop for Message {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the message is ours, and nothing borrowed from it is left.
        unsafe { rd::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// The error in a message, read as a number: a broker newer than the bindings may send one that their type does not know.
///
/// # Safety
/// `message` points to a message.
#[inline]
unsafe fn error_of(message: *const rd::rd_kafka_message_t) -> Option<RDKafkaErrorCode> {
    // SAFETY: by contract; the type of the field is a C enum, which has the layout of an `i32`.
    let code = unsafe { (&raw const (*message).err).cast::<i32>().read() };
    (code != 0).then(|| {
        RDKafkaRespErr::try_from(code).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from)
    })
}

/// # Safety
/// `start` is null, or `size` bytes can be read there for as long as `'a`.
#[inline]
unsafe fn bytes<'a>(start: *const c_void, size: usize) -> Option<&'a [u8]> {
    // SAFETY: by contract.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), size) })
}

/// # Safety
/// `text` is null or a C string.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by contract.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// A record to be produced. Its bytes are copied.
pub(super) struct Outgoing<'a> {
    pub(super) partition: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// `None` is now; never 0, see [`super::outgoing::timestamp`].
    pub(super) timestamp: Option<i64>,
    pub(super) headers: Option<&'a Headers>,
    /// Comes back in the [`Delivery`].
    pub(super) tag: usize,
}

/// What became of a record.
pub(super) struct Delivery {
    /// That of [`Outgoing`].
    pub(super) tag: usize,
    /// Where it stands now; negative if that is not known though it stands there.
    pub(super) result: Result<i64, RDKafkaErrorCode>,
}

/// A producer whose delivery reports are read from its event queue.
pub(super) struct Producer {
    events: NonNull<rd::rd_kafka_queue_t>,
    client: Arc<BaseProducer<Context>>,
}

// SAFETY: the queue may be used by any thread, see above; the client is `Send` and `Sync`.
unsafe impl Send for Producer {}
// SAFETY: as above.
unsafe impl Sync for Producer {}

impl Producer {
    pub(super) fn new(client: BaseProducer<Context>) -> Option<Self> {
        // SAFETY: the client is alive; the queue that comes back is ours.
        let events =
            NonNull::new(unsafe { rd::rd_kafka_queue_get_main(client.client().native_ptr()) })?;
        Some(Self {
            events,
            client: Arc::new(client),
        })
    }

    pub(super) fn client(&self) -> &BaseProducer<Context> {
        &self.client
    }

    /// A handle for a topic, to be kept: looking it up is what a produce by name spends most on.
    pub(super) fn topic(&self, name: &str) -> Result<Topic, KafkaError> {
        let native = self.client.client().native_ptr();
        Ok(Topic(KnownTopic::new(&self.client, native, name)?))
    }

    /// Waits at most `wait` for an event and serves it; false if there was none. Delivery reports go to `delivered`.
    pub(super) fn serve(&self, wait: Duration, mut delivered: impl FnMut(Delivery)) -> bool {
        // Rounded up: rounded down, the last millisecond of a wait would be spent in a busy loop.
        let wait_ms = wait.as_micros().div_ceil(1000).min(60_000) as i32;
        // SAFETY: the queue is alive; the event that comes back is ours, or null.
        let Some(event) =
            NonNull::new(unsafe { rd::rd_kafka_queue_poll(self.events.as_ptr(), wait_ms) })
        else {
            return false;
        };
        let event = Event(event);
        match event.kind() {
            rd::RD_KAFKA_EVENT_DR => event.each_delivery(&mut delivered),
            rd::RD_KAFKA_EVENT_LOG => event.log(self.client.context()),
            rd::RD_KAFKA_EVENT_ERROR => event.error(self.client.context()),
            _ => {}
        }
        true
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // SAFETY: the queue is ours and not used any more.
        unsafe { rd::rd_kafka_queue_destroy(self.events.as_ptr()) }
    }
}

fn last_error() -> RDKafkaErrorCode {
    // SAFETY: reads a value of this thread.
    unsafe { rd::rd_kafka_last_error() }.into()
}

/// That a client knows a topic: as long as this lives, it knows where the partitions are led.
pub(super) struct KnownTopic<C> {
    topic: NonNull<rd::rd_kafka_topic_t>,
    client: Arc<C>,
}

// SAFETY: the handle may be used by any thread, see above; the client is what it is.
unsafe impl<C: Send + Sync> Send for KnownTopic<C> {}
// SAFETY: as above.
unsafe impl<C: Send + Sync> Sync for KnownTopic<C> {}

impl KnownTopic<BaseConsumer<Context>> {
    pub(super) fn of_consumer(
        client: &Arc<BaseConsumer<Context>>,
        name: &str,
    ) -> Result<Self, KafkaError> {
        Self::new(client, client.client().native_ptr(), name)
    }
}

impl<C> KnownTopic<C> {
    /// `native` is the handle of `client`.
    fn new(client: &Arc<C>, native: *mut rd::rd_kafka_t, name: &str) -> Result<Self, KafkaError> {
        let name = CString::new(name)?;
        // SAFETY: the client is alive and the name is a C string; what comes back is ours, or null.
        let topic =
            NonNull::new(unsafe { rd::rd_kafka_topic_new(native, name.as_ptr(), ptr::null_mut()) });
        topic
            .map(|topic| Self {
                topic,
                client: client.clone(),
            })
            .ok_or_else(|| KafkaError::MessageProduction(last_error()))
    }
}

impl<C> Drop for KnownTopic<C> {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, not used any more, and its client is still alive.
        unsafe { rd::rd_kafka_topic_destroy(self.topic.as_ptr()) }
    }
}

/// A topic that a producer writes to.
pub(super) struct Topic(KnownTopic<BaseProducer<Context>>);

impl Topic {
    /// Puts a record into the producer's queue. Never waits.
    pub(super) fn produce(&self, record: &Outgoing<'_>) -> Result<(), KafkaError> {
        let (key, key_size) = parts(record.key);
        let (value, value_size) = parts(record.value);
        if record.headers.is_none() && record.timestamp.is_none() {
            // SAFETY: the handle is alive; key and value can be read during the call, which copies them.
            let result = unsafe {
                rd::rd_kafka_produce(
                    self.0.topic.as_ptr(),
                    record.partition,
                    rd::RD_KAFKA_MSG_F_COPY,
                    value,
                    value_size,
                    key,
                    key_size,
                    record.tag as *mut c_void,
                )
            };
            return match result {
                0 => Ok(()),
                _ => Err(KafkaError::MessageProduction(last_error())),
            };
        }
        let headers = record.headers.map_or(ptr::null_mut(), write_headers);
        // SAFETY: client and handle belong together and are alive; key and value can be read during the call, which
        // copies them; each tag is followed by the arguments that librdkafka's documentation gives for it.
        let error = unsafe {
            rd::rd_kafka_producev(
                self.0.client.client().native_ptr(),
                Tag::RD_KAFKA_VTYPE_RKT,
                self.0.topic.as_ptr(),
                Tag::RD_KAFKA_VTYPE_PARTITION,
                record.partition,
                Tag::RD_KAFKA_VTYPE_MSGFLAGS,
                rd::RD_KAFKA_MSG_F_COPY,
                Tag::RD_KAFKA_VTYPE_VALUE,
                value,
                value_size,
                Tag::RD_KAFKA_VTYPE_KEY,
                key,
                key_size,
                Tag::RD_KAFKA_VTYPE_OPAQUE,
                record.tag as *mut c_void,
                Tag::RD_KAFKA_VTYPE_TIMESTAMP,
                // 0 is now.
                record.timestamp.unwrap_or(0),
                Tag::RD_KAFKA_VTYPE_HEADERS,
                headers,
                Tag::RD_KAFKA_VTYPE_END,
            )
        };
        if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        if !headers.is_null() {
            // SAFETY: librdkafka takes the headers only if it succeeds.
            unsafe { rd::rd_kafka_headers_destroy(headers) };
        }
        Err(KafkaError::MessageProduction(error.into()))
    }
}

fn parts(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| {
        (bytes.as_ptr().cast_mut().cast(), bytes.len())
    })
}

fn write_headers(headers: &Headers) -> *mut rd::rd_kafka_headers_t {
    // SAFETY: what comes back is ours until it is given to a produce call. Names and values are copied.
    unsafe {
        let raw = rd::rd_kafka_headers_new(headers.len());
        for (name, value) in headers.iter() {
            let (value, size) = parts(value);
            rd::rd_kafka_header_add(
                raw,
                name.as_ptr().cast(),
                name.len() as isize,
                value,
                size as isize,
            );
        }
        raw
    }
}

/// Something that a client has to say.
struct Event(NonNull<rd::rd_kafka_event_t>);

impl Event {
    fn kind(&self) -> i32 {
        // SAFETY: the event is alive.
        unsafe { rd::rd_kafka_event_type(self.0.as_ptr()) }
    }

    fn each_delivery(&self, delivered: &mut impl FnMut(Delivery)) {
        loop {
            // SAFETY: the event is alive, and a message of it is until the event is destroyed.
            let delivery = unsafe {
                let message = rd::rd_kafka_event_message_next(self.0.as_ptr());
                if message.is_null() {
                    return;
                }
                Delivery {
                    tag: (*message)._private as usize,
                    result: error_of(message).map_or(Ok((*message).offset), Err),
                }
            };
            delivered(delivery);
        }
    }

    fn log(&self, context: &Context) {
        let (mut facility, mut message, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the event is alive, and so are the two texts as long as it is.
        let (result, facility, message) = unsafe {
            let result =
                rd::rd_kafka_event_log(self.0.as_ptr(), &mut facility, &mut message, &mut level);
            (result, text(facility), text(message))
        };
        if result == 0 {
            let level = match level {
                ..=3 => RDKafkaLogLevel::Error,
                4 => RDKafkaLogLevel::Warning,
                5 => RDKafkaLogLevel::Notice,
                6 => RDKafkaLogLevel::Info,
                _ => RDKafkaLogLevel::Debug,
            };
            context.log(level, facility.trim(), message.trim());
        }
    }

    fn error(&self, context: &Context) {
        // SAFETY: the event is alive, and so is the text as long as it is.
        let (code, reason) = unsafe {
            (
                rd::rd_kafka_event_error(self.0.as_ptr()),
                text(rd::rd_kafka_event_error_string(self.0.as_ptr())),
            )
        };
        context.error(KafkaError::Global(code.into()), reason.trim());
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is ours, and nothing borrowed from it is left.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}
