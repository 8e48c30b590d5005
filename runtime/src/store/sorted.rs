//! [`sorted`]: the writes of a batch in the order of their keys, which is what files need and write buffers take best.

use tanist_actors::port::Changes;

/// The last write to each key, ordered by key.
pub(super) fn sorted(changes: &Changes) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let write = |index, (key, value)| Write {
        head: 0,
        key,
        value,
        index,
    };
    let mut writes: Vec<Write<'_>> = (0..)
        .zip(changes.iter())
        .map(|(i, w)| write(i, w))
        .collect();
    sort(&mut writes, 0);
    // Writes to one key have one head. That of most others differs, which spares a look at the keys.
    writes.dedup_by(|earlier, last| earlier.head == last.head && earlier.key == last.key);
    writes.into_iter().map(|write| (write.key, write.value))
}

/// All of a write, so that what is looked at in the order of the keys is one place in memory for each.
struct Write<'a> {
    /// Eight bytes of the key: comparing these takes no look at another place in memory, which is what sorting many
    /// small keys would spend its time with.
    head: u64,
    key: &'a [u8],
    value: Option<&'a [u8]>,
    index: u32,
}

/// Fewer writes than this are compared by their whole keys.
const FEW: usize = 16;

/// Beyond so many bytes that are equal, keys are compared as a whole; bounds the recursion.
const MAX_DEPTH: usize = 512;

/// Orders writes, whose keys are equal in their first `depth` bytes, by key; of equal keys the last write comes first.
fn sort(writes: &mut [Write<'_>], depth: usize) {
    if writes.len() < FEW || depth > MAX_DEPTH {
        writes.sort_unstable_by(|a, b| a.key.cmp(b.key).then(b.index.cmp(&a.index)));
        return;
    }
    for write in &mut *writes {
        write.head = head(write.key, depth);
    }
    writes.sort_unstable_by_key(|write| write.head);
    for equal in writes.chunk_by_mut(|a, b| a.head == b.head) {
        sort(equal, depth + size_of::<u64>());
    }
}

/// Ordered as the bytes are that begin at `depth`, where a key that ends there counts as if zeros followed.
fn head(key: &[u8], depth: usize) -> u64 {
    let rest = key.get(depth..).unwrap_or_default();
    if let Some(whole) = rest.first_chunk() {
        return u64::from_be_bytes(*whole);
    }
    let mut head = [0; 8];
    head[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn check(writes: &[(Vec<u8>, Option<Vec<u8>>)]) {
        let mut changes = Changes::default();
        let mut expected = BTreeMap::new();
        for (key, value) in writes {
            match value {
                Some(value) => changes.put(key, &[], value),
                None => changes.delete(key, &[]),
            }
            expected.insert(key.as_slice(), value.as_deref());
        }
        assert!(sorted(&changes).eq(expected));
    }

    #[test]
    fn keys_that_are_long_and_alike_are_sorted_too() {
        for length in [0, 7, 8, 9, 511, 512, 513, 5_000] {
            let key = |tail: &[u8]| [vec![7; length].as_slice(), tail].concat();
            let tails: [&[u8]; 5] = [b"", b"\0", b"\0\0\0\0\0\0\0\0\0", b"a", b"\xff"];
            let values = (0..20).map(|value| value % 3 > 0).cycle();
            let keys = tails.iter().rev().cycle().take(100).map(|tail| key(tail));
            let writes = keys.zip(values).enumerate();
            let writes: Vec<_> = writes
                .map(|(index, (key, kept))| (key, kept.then(|| vec![index as u8])))
                .collect();
            check(&writes);
        }
    }

    proptest! {
        #[test]
        fn of_each_key_the_last_write_is_kept_in_the_order_of_keys(
            writes in prop::collection::vec(
                (
                    prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0xff]), 0..12),
                    prop::option::of(prop::collection::vec(any::<u8>(), 0..3)),
                ),
                0..200,
            )
        ) {
            check(&writes);
        }
    }
}
