//! [`partition_of`]: which partition a key belongs to, as Kafka's Java client and Faust decide it.

use tanist_cluster::Partition;

/// The partition of a key (its encoded bytes) among `partitions`: murmur2 of Kafka's `Utils.murmur2`, made positive by
/// dropping the sign bit as `Utils.toPositive` does. So topics that Java programs write are co-partitioned with ours;
/// librdkafka's default partitioner (CRC32) would not be.
pub fn partition_of(key: &[u8], partitions: i32) -> Partition {
    let positive = (murmur2(key) & 0x7fff_ffff) as i32;
    Partition(positive % partitions.max(1))
}

/// Austin Appleby's MurmurHash2, 32 bit, with the seed that Kafka chose.
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    let (words, tail) = key.as_chunks::<4>();
    let mut hash = SEED ^ key.len() as u32;
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `UtilsTest.testMurmur2` of Apache Kafka.
    #[test]
    fn agrees_with_kafkas_own_test_vectors() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn every_key_has_a_partition_even_the_empty_one() {
        assert_eq!(partition_of(b"", 1), Partition(0));
        for key in 0..1000_u32 {
            assert!((0..8).contains(&partition_of(&key.to_be_bytes(), 8).0));
        }
    }
}
