//! [`Connections`]: which connections a transactional producer has, by what its client library says of them.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Once, PoisonError};
use std::time::Duration;

use tanist_tests::raw::poll_until;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use std::sync::Mutex;
