//! Roles and permits that go while something is under way; and shards that do not wait for each other.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};

use tanist_actors::port::{MemoryStores, Store, StoreError, Stores};
use tanist_actors::shard::ShardState;
use tanist_broker::{Millis, NewRecord, Stamp, TopicPartition};
use tanist_cluster::{ShardId, TransactionalId, WorkerIndex};

use super::app::App;
use super::world::{on_memory, on_memory_in_real_time};

const KEYS: [&str; 3] = ["a", "b", "c"];

/// Stores that take their time, until they are let go.
#[derive(Default)]
struct Gated {
    stores: MemoryStores,
    closed: Mutex<BTreeSet<ShardId>>,
    changed: Condvar,
}

impl Gated {
    fn closed(shard: ShardId) -> Arc<Self> {
        Arc::new(Self {
            closed: Mutex::new([shard].into()),
            ..Self::default()
        })
    }

    fn let_go(&self) {
        self.closed.lock().expect("nobody panics with it").clear();
        self.changed.notify_all();
    }
}

impl Stores for Gated {
    fn open(&self, shard: &ShardId) -> Result<Arc<dyn Store>, StoreError> {
        let closed = self.closed.lock().expect("nobody panics with it");
        let waited = self
            .changed
            .wait_while(closed, |closed| closed.contains(shard));
        drop(waited.expect("nobody panics with it"));
        self.stores.open(shard)
    }

    fn exists(&self, shard: &ShardId) -> bool {
        self.stores.exists(shard)
    }
}

#[test]
fn a_shard_whose_store_opens_slowly_holds_up_no_other() {
    on_memory_in_real_time(App::new("app", 2, true), |mut world, _| async move {
        let stores = Gated::closed(world.app.shard(0));
        let me = world.join(stores.clone()).await;
        world.plan(me, &[], &[]);
        world.send(1, &KEYS).await;
        world
            .until("the other one has committed", |world| {
                world.committed(me, 1) >= 3
            })
            .await;
        assert!(matches!(
            world.state(me, 0),
            Some(ShardState::Restoring { .. })
        ));
        stores.let_go();
        world
            .until("it is there as well", |world| world.all_running(me))
            .await;
    });
}

#[test]
fn a_copy_that_is_not_wanted_any_more_while_it_opens_is_closed_and_may_come_back() {
    on_memory_in_real_time(App::new("app", 1, true), |mut world, _| async move {
        let stores = Gated::closed(world.app.shard(0));
        let first = world.join(Arc::<MemoryStores>::default()).await;
        let second = world.join(stores.clone()).await;
        world.plan(first, &[second], &[]);
        world
            .until("it is being opened", |world| world.shards_of(second) == 1)
            .await;
        world.plan(first, &[], &[]);
        stores.let_go();
        world
            .until("it is gone", |world| world.shards_of(second) == 0)
            .await;
        world.plan(first, &[second], &[]);
        world
            .until("it is back", |world| world.all_standby(second))
            .await;
    });
}

#[test]
fn a_permit_that_is_taken_away_while_the_store_opens_is_released_at_once() {
    on_memory_in_real_time(App::new("app", 1, true), |mut world, _| async move {
        let stores = Gated::closed(world.app.shard(0));
        let first = world.join(stores.clone()).await;
        let second = world.join(Arc::<MemoryStores>::default()).await;
        world.plan(first, &[], &[]);
        world
            .until("it is being opened", |world| world.shards_of(first) == 1)
            .await;
        world.plan(second, &[], &[]);
        world
            .until("the other is at work", |world| world.all_running(second))
            .await;
        stores.let_go();
        world
            .until("it is gone", |world| world.shards_of(first) == 0)
            .await;
    });
}

#[test]
fn a_copy_that_is_not_wanted_any_more_is_closed() {
    on_memory(9, App::new("app", 1, true), |mut world, _| async move {
        let first = world.join(Arc::<MemoryStores>::default()).await;
        let second = world.join(Arc::<MemoryStores>::default()).await;
        world.plan(first, &[second], &[]);
        world
            .until("it follows", |world| world.all_standby(second))
            .await;
        world.plan(first, &[], &[]);
        world
            .until("it is gone, and the other one at work", |world| {
                world.shards_of(second) == 0 && world.all_running(first)
            })
            .await;
    });
}

#[test]
fn a_permit_that_is_taken_away_while_catching_up_is_released_and_the_copy_follows_on() {
    on_memory(
        10,
        App::new("app", 1, true),
        |mut world, memory| async move {
            let stores = [Arc::<MemoryStores>::default(), Arc::default()];
            let first = world.join(stores[0].clone()).await;
            let second = world.join(stores[1].clone()).await;
            world.plan(first, &[second], &[]);
            world.send(0, &KEYS).await;
            world
                .until("the standby has followed", |world| {
                    world.committed(first, 0) >= 3 && world.all_standby(second)
                })
                .await;
            // A transaction that stays open, so that the end is not reached.
            let zombie = TransactionalId::of("zombie", first, WorkerIndex(0));
            let (id, now) = (zombie.as_str(), Millis(1_700_000_000_000));
            let changelog = world.app.changelog(0);
            let address = TopicPartition::new(&*changelog.topic, 0);
            let port = &memory.port;
            let begin = || {
                let producer = port.init_producer(Some(id), Millis(60_000), None, now)?;
                port.add_partitions(id, producer, std::slice::from_ref(&address), now)?;
                let stamp = Stamp {
                    producer,
                    sequence: 0,
                    transactional: true,
                };
                let record = NewRecord {
                    key: Some("z".into()),
                    value: Some(vec![1, 1, 9].into()),
                    headers: Vec::new(),
                    timestamp: now,
                };
                port.append(&address, &[record], Some(stamp), now)
            };
            begin().expect("a transaction is open");
            world.kill(first);
            world.fence(second, first).await;
            world.plan(second, &[], &[first]);
            world
                .until("it is catching up", |world| {
                    world.state(second, 0) == Some(ShardState::CatchingUp)
                })
                .await;
            let third = world.join(stores[0].clone()).await;
            world.plan(third, &[second], &[]);
            world
                .until("the permit is released", |world| !world.is_awaited(0))
                .await;
            let fenced = world.broker.fence(std::slice::from_ref(&zombie)).await;
            fenced.expect("it is rolled back");
            world
                .until("the third is at work", |world| world.all_running(third))
                .await;
            world.send(0, &KEYS).await;
            world
                .until("the second has followed", |world| {
                    world.committed(third, 0) >= 6
                        && world.all_standby(second)
                        && world.tables(&*stores[0], 0) == world.tables(&*stores[1], 0)
                })
                .await;
            assert_eq!(world.check_counts(0).await, 6);
        },
    );
}
