//! What a failover costs on a broker behind a network, stage by stage. A measurement, on the broker that the tests use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tanist::kafka::{Kafka, KafkaSettings};
use tanist_actors::port::{Broker, Clock, MemoryStores};
use tanist_actors::worker::Stage;
use tanist_cluster::MemberId;
use tanist_tests::broker::TestBroker;

use super::app::App;
use super::world::World;

const SHARDS: i32 = 4;
const ROUNDS: usize = 20;
/// Records go to every shard at this distance.
const BETWEEN: Duration = Duration::from_millis(5);
/// Longer than it takes until nothing is cold any more.
const SETTLE: Duration = Duration::from_secs(2);

#[test]
#[ignore = "a measurement: cargo test --release --workspace --test members promotion -- --ignored --nocapture"]
fn what_a_promotion_costs() {
    let broker = TestBroker::start();
    let app = App::new(&broker.unique("promotion"), SHARDS, true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime can be built");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (bootstrap, id) = (broker.bootstrap().to_owned(), app.id.clone());
        let connect = move |_: &str| {
            let mut settings = KafkaSettings::new(bootstrap.as_str(), id.as_str());
            // What a client has heard of topics in passing is forgotten after a quarter of an hour: before a round here.
            let age = ("metadata.max.age.ms".to_owned(), "1000".to_owned());
            settings.properties.extend([age]);
            Arc::new(Kafka::new(settings).expect("the settings are right")) as Arc<dyn Broker>
        };
        let mut world = World::new(app, Box::new(connect)).await;
        let load = load(&world);
        let mut figures = BTreeMap::<&str, Vec<f64>>::new();
        let mut active = join(&mut world).await;
        world.plan(active, &[], &[]);
        for _ in 0..ROUNDS {
            let heir = join(&mut world).await;
            world.plan(active, &[heir], &[]);
            world
                .until("the heir follows", |world| {
                    world.all_running(active) && world.all_standby(heir)
                })
                .await;
            tokio::time::sleep(SETTLE).await;
            promote(&mut world, active, heir, &mut figures).await;
            active = heir;
        }
        load.abort();
        for (stage, figures) in &mut figures {
            figures.sort_by(f64::total_cmp);
            let at = |part: usize| figures[(figures.len() - 1) * part / 100];
            println!(
                "{stage:32} p50 {:6.1}  p90 {:6.1}  max {:6.1} ms",
                at(50),
                at(90),
                at(100)
            );
        }
        for partition in 0..SHARDS {
            let records = world.check_counts(partition).await;
            assert!(records > 0);
        }
    });
}

async fn join(world: &mut World) -> MemberId {
    world.join(Arc::<MemoryStores>::default()).await
}

fn load(world: &World) -> tokio::task::JoinHandle<()> {
    let (broker, app) = (world.broker.clone(), &world.app);
    let inputs: Vec<_> = (0..SHARDS).map(|partition| app.input(partition)).collect();
    tokio::task::spawn_local(async move {
        for record in 0.. {
            for input in &inputs {
                let key = format!("key{}", record % 100);
                let sent = broker.append(input, key.as_bytes(), Some(b"1")).await;
                sent.expect("a record can be sent");
            }
            tokio::time::sleep(BETWEEN).await;
        }
    })
}

async fn promote(
    world: &mut World,
    active: MemberId,
    heir: MemberId,
    figures: &mut BTreeMap<&str, Vec<f64>>,
) {
    let killed = world.clock.elapsed();
    world.kill(active);
    world.fence(heir, active).await;
    let fenced = world.clock.elapsed();
    world.plan(heir, &[], &[active]);
    let first_commits = |world: &World| {
        let stages = world.stages(heir).into_iter();
        stages
            .filter(|(_, stage, _)| *stage == Stage::FirstCommit)
            .count()
    };
    world
        .until("the heir has committed", |world| {
            first_commits(world) == SHARDS as usize
        })
        .await;
    let mut note = |stage, took: Duration| {
        figures
            .entry(stage)
            .or_default()
            .push(took.as_secs_f64() * 1e3);
    };
    note("1 fence", fenced - killed);
    for partition in 0..SHARDS {
        let shard = world.app.shard(partition);
        let at: BTreeMap<Stage, Duration> = world
            .stages(heir)
            .into_iter()
            .filter(|(of, ..)| *of == shard)
            .map(|(_, stage, at)| (stage, at))
            .collect();
        note(
            "2 permitted -> caught up",
            at[&Stage::CaughtUp] - at[&Stage::Permitted],
        );
        note(
            "3 caught up -> assigned",
            at[&Stage::Assigned] - at[&Stage::CaughtUp],
        );
        note(
            "4 assigned -> first commit",
            at[&Stage::FirstCommit] - at[&Stage::Assigned],
        );
        note("5 killed -> first commit", at[&Stage::FirstCommit] - killed);
    }
}
