//! The simulation: clusters of the production code on the memory ports and virtual time, to which seeds do bad things: nodes
//! die and freeze at any point at which they meet the world, stop, come back and are added; requests go wrong, the broker is
//! away, clocks are an hour apart. Then all are let alone, and what must be true whatever happened is checked.
//!
//! A `schedule` is what a seed decides, `world` carries it out on the `app`, and `check` judges. All else is the test driver
//! that users have. A run is determined by its schedule: `TANIST_TEST_SEED=7 cargo test --workspace --lib simulation:: --
//! --nocapture` repeats one, and tells its story (with `RUST_LOG=debug` all that the nodes log, too). `bin/test simulation`
//! goes through ten thousand seeds, `./bin/test` through the first thousand.

mod app;
mod check;
mod schedule;
mod tests;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use schedule::Schedule;
use world::World;

/// Carries out a schedule: what was wrong in the end, and the world as it is then.
fn run(schedule: &Schedule) -> (Result<(), String>, World) {
    count_panics();
    let mut world = World::new(schedule);
    let run = AssertUnwindSafe(|| {
        world.run(schedule)?;
        check::check(&mut world, schedule)
    });
    // One in a task ends that task alone.
    let outcome = catch_unwind(run).unwrap_or(Ok(()));
    let outcome = match PANICS.take() {
        0 => outcome,
        _ => Err("something has panicked, see above".to_owned()),
    };
    (outcome, world)
}

thread_local! {
    /// On this thread.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            tell(panic);
        }));
    });
    PANICS.set(0);
}
