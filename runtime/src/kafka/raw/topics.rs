//! What topics there are, with their ids, which the crate `rdkafka` does not tell; and the deletion of records, for which it
//! needs a client of its own each time.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::{Event, text};
use crate::kafka::context::Context;

/// What a broker tells of a topic.
pub(in crate::kafka) struct Described {
    /// Base64, as Kafka's tools show it; empty if the broker has no ids.
    pub(in crate::kafka) id: String,
    pub(in crate::kafka) partitions: i32,
}

/// What is told of one topic; or why nothing is.
pub(in crate::kafka) type Answer = Result<Described, RDKafkaErrorCode>;

/// Asks for the topics of these names, in one request.
pub(in crate::kafka) fn describe(
    client: &BaseConsumer<Context>,
    names: &[Arc<str>],
    limit: Duration,
) -> Result<BTreeMap<Arc<str>, Answer>, KafkaError> {
    // The same name twice would be refused.
    let names: BTreeMap<CString, &Arc<str>> = names
        .iter()
        .map(|name| Ok((CString::new(&**name)?, name)))
        .collect::<Result<_, KafkaError>>()?;
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let event =
        ask_for_topics(client, names.keys(), limit_ms(limit)).map_err(KafkaError::MetadataFetch)?;
    // SAFETY: the event is alive, and is of this kind: nothing else was asked for on its queue. The topics in it, and what
    // they consist of, live as long as it does.
    let topics = unsafe {
        let result = rd::rd_kafka_event_DescribeTopics_result(event.0.as_ptr());
        let mut count = 0;
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        (0..count)
            .map(|place| described(*topics.add(place)))
            .collect::<Vec<(String, Answer)>>()
    };
    let known: BTreeMap<&str, &Arc<str>> = names.values().map(|name| (&***name, *name)).collect();
    let topics = topics.into_iter();
    Ok(topics
        .filter_map(|(name, answer)| Some(((*known.get(&*name)?).clone(), answer)))
        .collect())
}

/// Deletes the records below the offsets in `below`, in one request to each of their leaders.
pub(in crate::kafka) fn delete_records(
    client: &BaseConsumer<Context>,
    below: &TopicPartitionList,
    limit: Duration,
) -> Result<(), KafkaError> {
    let kind = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETERECORDS;
    let event = ask(client, kind, limit_ms(limit), |native, options, queue| {
        // SAFETY: client, options and queue are alive, and so is the list, which is copied.
        unsafe {
            let mut order = rd::rd_kafka_DeleteRecords_new(below.ptr());
            rd::rd_kafka_DeleteRecords(native, &mut order, 1, options, queue);
            rd::rd_kafka_DeleteRecords_destroy(order);
        }
    })
    .map_err(KafkaError::AdminOp)?;
    // SAFETY: the event is alive, and is of this kind. The list in it, of `cnt` elements, lives as long as it does.
    let failed = unsafe {
        let result = rd::rd_kafka_event_DeleteRecords_result(event.0.as_ptr());
        let list = rd::rd_kafka_DeleteRecords_result_offsets(result);
        let places = 0..usize::try_from((*list).cnt).unwrap_or(0);
        let mut errors = places.map(|place| (*(*list).elems.add(place)).err);
        errors.find(|error| *error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)
    };
    failed.map_or(Ok(()), |error| Err(KafkaError::AdminOp(error.into())))
}

fn limit_ms(limit: Duration) -> c_int {
    limit.as_millis().clamp(1, 3_600_000) as c_int
}

fn ask_for_topics<'a>(
    client: &BaseConsumer<Context>,
    names: impl Iterator<Item = &'a CString>,
    limit_ms: c_int,
) -> Result<Event, RDKafkaErrorCode> {
    let mut names: Vec<*const c_char> = names.map(|name| name.as_ptr()).collect();
    let kind = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    ask(client, kind, limit_ms, |native, options, queue| {
        // SAFETY: client, options and queue are alive, and so are the names, which are copied.
        unsafe {
            let topics =
                rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            rd::rd_kafka_DescribeTopics(native, topics, options, queue);
            rd::rd_kafka_TopicCollection_destroy(topics);
        }
    })
}

/// Has `begin` ask for something, and waits for the answer, which is not an error as a whole.
fn ask(
    client: &BaseConsumer<Context>,
    kind: rd::rd_kafka_admin_op_t,
    limit_ms: c_int,
    begin: impl FnOnce(
        *mut rd::rd_kafka_t,
        *const rd::rd_kafka_AdminOptions_t,
        *mut rd::rd_kafka_queue_t,
    ),
) -> Result<Event, RDKafkaErrorCode> {
    let native = client.client().native_ptr();
    // SAFETY: the client is alive. Options and queue are ours and given back; an answer that comes later than that is
    // dropped by librdkafka, which counts who holds a queue. The event is ours, or null.
    let event = unsafe {
        let options = rd::rd_kafka_AdminOptions_new(native, kind);
        rd::rd_kafka_AdminOptions_set_request_timeout(options, limit_ms, ptr::null_mut(), 0);
        let queue = rd::rd_kafka_queue_new(native);
        begin(native, options, queue);
        let event = rd::rd_kafka_queue_poll(queue, limit_ms);
        rd::rd_kafka_queue_destroy(queue);
        rd::rd_kafka_AdminOptions_destroy(options);
        event
    };
    let event = NonNull::new(event).ok_or(RDKafkaErrorCode::OperationTimedOut)?;
    let event = Event(event);
    // SAFETY: the event is alive.
    match unsafe { rd::rd_kafka_event_error(event.0.as_ptr()) } {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(event),
        error => Err(error.into()),
    }
}

/// # Safety
/// `topic` is a description that is alive.
unsafe fn described(topic: *const rd::rd_kafka_TopicDescription_t) -> (String, Answer) {
    // SAFETY: by contract; what is asked for belongs to the description, or is null.
    unsafe {
        let name = text(rd::rd_kafka_TopicDescription_name(topic));
        let error = rd::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            return (name, Err(rd::rd_kafka_error_code(error).into()));
        }
        let mut count = 0;
        rd::rd_kafka_TopicDescription_partitions(topic, &mut count);
        let described = Described {
            id: id(rd::rd_kafka_TopicDescription_topic_id(topic)),
            partitions: count as i32,
        };
        (name, Ok(described))
    }
}

/// # Safety
/// `uuid` is null or an id that is alive.
unsafe fn id(uuid: *const rd::rd_kafka_Uuid_t) -> String {
    // librdkafka has another alphabet than Kafka's tools.
    let spelt = |text: String| text.replace('+', "-").replace('/', "_");
    // SAFETY: by contract; the text belongs to the id.
    unsafe {
        let is_known = !uuid.is_null()
            && (rd::rd_kafka_Uuid_most_significant_bits(uuid) != 0
                || rd::rd_kafka_Uuid_least_significant_bits(uuid) != 0);
        match is_known {
            true => spelt(text(rd::rd_kafka_Uuid_base64str(uuid))),
            false => String::new(),
        }
    }
}
