//! The random number generator behind getrandom, /dev/urandom and AT_RANDOM: ChaCha20 with fast key
//! erasure (as Linux's `drivers/char/random.c`), seeded by the host at boot and again at restore.

use crate::sync::{Lock, Rank};

struct Generator {
    key: [u32; 8],
    seeded: bool,
}

static GENERATOR: Lock<Generator> = Lock::new(
    Rank::Random,
    Generator {
        key: [0; 8],
        seeded: false,
    },
);

/// Mixes host randomness into the key. What was drawn before can't be computed from what is drawn
/// after, nor the other way round if `entropy` is unknown.
pub fn reseed(entropy: &[u8; 64]) {
    let mut generator = GENERATOR.lock();
    for half in entropy.chunks_exact(32) {
        for (word, bytes) in generator.key.iter_mut().zip(half.chunks_exact(4)) {
            *word ^= u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let block = chacha20_block(&generator.key, 0);
        generator.key.copy_from_slice(&block[..8]);
    }
    generator.seeded = true;
}

/// Fills `bytes` with random bytes.
pub fn fill(bytes: &mut [u8]) {
    let mut generator = GENERATOR.lock();
    #[cfg(not(target_os = "none"))]
    if !generator.seeded {
        // Host unit tests have no VMM that seeds.
        let address = core::ptr::from_ref(&bytes) as u64 ^ crate::time::monotonic_ns();
        generator.key[0] = address as u32;
        generator.key[1] = (address >> 32) as u32;
        generator.seeded = true;
    }
    assert!(
        generator.seeded,
        "random numbers asked for before the host gave entropy"
    );
    let key = generator.key;
    let first = chacha20_block(&key, 0);
    // Fast key erasure: the first half block is the next key, the rest is output.
    generator.key.copy_from_slice(&first[..8]);
    drop(generator);
    let (head, tail) = bytes.split_at_mut(bytes.len().min(32));
    copy_words(head, &first[8..]);
    for (index, chunk) in tail.chunks_mut(64).enumerate() {
        copy_words(chunk, &chacha20_block(&key, index as u64 + 1));
    }
}

/// A random `u64`.
pub fn next_u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

fn copy_words(out: &mut [u8], words: &[u32]) {
    for (chunk, word) in out.chunks_mut(4).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

/// The ChaCha20 block function (RFC 8439, section 2.3) with a zero nonce.
fn chacha20_block(key: &[u32; 8], counter: u64) -> [u32; 16] {
    let mut state = [0u32; 16];
    state[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    state[4..12].copy_from_slice(key);
    state[12] = counter as u32;
    state[13] = (counter >> 32) as u32;
    let start = state;
    for _ in 0..10 {
        for column in 0..4 {
            quarter_round(&mut state, [column, column + 4, column + 8, column + 12]);
        }
        for d in 0..4 {
            quarter_round(
                &mut state,
                [d, 4 + (d + 1) % 4, 8 + (d + 2) % 4, 12 + (d + 3) % 4],
            );
        }
    }
    for (word, initial) in state.iter_mut().zip(start) {
        *word = word.wrapping_add(initial);
    }
    state
}

fn quarter_round(s: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    for (add, xor, by, rotate) in [(a, d, b, 16), (c, b, d, 12), (a, d, b, 8), (c, b, d, 7)] {
        s[add] = s[add].wrapping_add(s[by]);
        s[xor] = (s[xor] ^ s[add]).rotate_left(rotate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_matches_the_zero_key_test_vector() {
        // RFC 8439, appendix A.1, test vector 1: zero key, zero nonce, counter 0.
        let block = chacha20_block(&[0; 8], 0);
        assert_eq!(block[0].to_le_bytes(), [0x76, 0xb8, 0xe0, 0xad]);
        assert_eq!(block[15].to_le_bytes(), [0xb2, 0xee, 0x65, 0x86]);
    }

    #[test]
    fn draws_differ_and_cover_every_length() {
        let (mut a, mut b) = ([0u8; 200], [0u8; 200]);
        fill(&mut a);
        fill(&mut b);
        assert_ne!(a, b);
        assert!(a[150..].iter().any(|&byte| byte != 0));
        reseed(&[7; 64]);
        assert_ne!(next_u64(), next_u64());
    }
}
