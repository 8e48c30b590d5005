//! What may be removed from the control log.

use crate::control::Key;
use crate::view::View;

/// The keys that have no part in the view any more, now or after any further record: write a tombstone for
/// each, in this order. The director does so at times.
///
/// A plan comes before the [`crate::control::Armed`] that made its fence not count: without them, it would.
/// The current plan, and all that permits under it depend on, are never among them.
#[must_use]
pub fn garbage(view: &View) -> Vec<Key> {
    let superseded = |key: &&Key| is_superseded(key, view);
    view.keys.iter().filter(superseded).cloned().collect()
}

fn is_superseded(key: &Key, view: &View) -> bool {
    let current = view.plan();
    match key {
        // Left or expelled. A plan that still names it is none the worse: whom the log does not know is gone.
        Key::Member(incarnation) => view.find(*incarnation).is_none(),
        // While the current plan says that it fenced the member: only all generations before it say whether
        // that counts.
        Key::Armed(member, generation) => match view.member(*member) {
            None => true,
            Some(it) => {
                let fenced = current.is_some_and(|plan| plan.fenced().contains_key(member));
                *generation < it.generation && !fenced
            }
        },
        Key::Plan(epoch, author) => {
            current.is_some_and(|it| it.epoch() > *epoch)
                || current.is_some_and(|it| it.epoch() == *epoch && it.author() != *author)
        }
        Key::Released(epoch, ..) => *epoch < view.epoch(),
        Key::Begun(..) => false,
    }
}
