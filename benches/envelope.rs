//! What does the envelope cost, beside OpenSSL and beside its floor, bare SHA-256?
//!
//! `cargo bench --bench envelope` runs criterion, then times all contenders in turns and prints the ratios with
//! their targets. Every contender's answer is checked before it is timed.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on stops")]

use std::hint::black_box;
use std::time::Duration;

use airudder_gateway::clock;
use airudder_gateway::config::{Iv, Scheme};
use airudder_gateway::envelope::Cipher;
use airudder_gateway::secret::Secret;
use base64::Engine as _;
use criterion::{BenchmarkId, Criterion, Throughput};
use openssl::cipher::Cipher as Algorithm;
use openssl::cipher_ctx::CipherCtx;
use sha2::{Digest as _, Sha256};

/// The gateway's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEY: &[u8; 16] = b"airudderredduria";
const IV: &[u8; 16] = b"0102030405060708";
/// Odd, so that a median is one of them.
const ROUNDS: usize = 301;
const SIZES: [usize; 3] = [1 << 10, 16 << 10, 1 << 20];

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(20)
        .configure_from_args();
    run_criterion(&mut criterion);
    criterion.final_summary();
    // Cargo passes `--bench` for `cargo bench`; under `cargo test` each benchmark only runs once.
    if std::env::args().any(|argument| argument == "--bench") {
        print_summary();
    }
}

fn run_criterion(criterion: &mut Criterion) {
    for size in SIZES {
        for case in Case::all(size) {
            let mut group = criterion.benchmark_group(case.name());
            group.throughput(Throughput::Bytes(size as u64));
            let mut theirs = case.openssl();
            group.bench_function(BenchmarkId::new("gateway", size), |bencher| bencher.iter(|| case.run()));
            group.bench_function(BenchmarkId::new("openssl", size), |bencher| bencher.iter(|| theirs.run(&case)));
        }
        let plain = body(size);
        let mut group = criterion.benchmark_group("sha-256");
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("sha2", size), |bencher| bencher.iter(|| Sha256::digest(&plain)));
        group.bench_function(BenchmarkId::new("openssl", size), |bencher| bencher.iter(|| openssl_sha256(&plain)));
    }
}

/// Medians of rounds in which every contender has its turn, so that a machine that slows down slows all of them.
fn print_summary() {
    println!("\nMedians in µs of {ROUNDS} rounds in turns; ratios are medians of the rounds' ratios.\n");
    println!("| | size | gateway | OpenSSL | ratio | target | SHA-256 | ratio | target |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for size in SIZES {
        for case in Case::all(size) {
            let mut theirs = case.openssl();
            let times = in_turns(
                size,
                &mut [
                    &mut || consume(case.run()),
                    &mut || consume(theirs.run(&case)),
                    &mut || consume(Sha256::digest(black_box(&case.plain))),
                    &mut || consume(openssl_sha256(&case.plain)),
                ],
            );
            // The floor is the faster of the two hashes.
            let sha = if median(&times[2]) < median(&times[3]) { &times[2] } else { &times[3] };
            let beside_openssl = ratio(&times[0], &times[1]);
            let beside_sha = ratio(&times[0], sha);
            let target = if case.is_ecb() { 0.8 } else { 1.3 };
            let floor = if case.is_ecb() && size == 1 << 20 { target_cell(beside_sha, 1.3) } else { "–".into() };
            println!(
                "| {} | {} KiB | {:.2} | {:.2} | {beside_openssl:.2} | {} | {:.2} | {beside_sha:.2} | {floor} |",
                case.name(),
                size >> 10,
                median(&times[0]),
                median(&times[1]),
                target_cell(beside_openssl, target),
                median(sha),
            );
        }
    }
    print_base64();
}

/// Which base64 crate is faster on the batches that the envelope hands it.
fn print_base64() {
    let plain = body(3072);
    let text = base64::engine::general_purpose::STANDARD.encode(&plain);
    let (mut a, mut b, mut c, mut d) = (Vec::new(), Vec::new(), String::new(), Vec::new());
    let times = in_turns(
        plain.len(),
        &mut [
            &mut || {
                a.clear();
                base64_simd::STANDARD.encode_append(black_box(&plain), &mut a);
            },
            &mut || {
                c.clear();
                base64::engine::general_purpose::STANDARD.encode_string(black_box(&plain), &mut c);
            },
            &mut || {
                b.clear();
                base64_simd::STANDARD.decode_append(black_box(text.as_bytes()), &mut b).expect("base64");
            },
            &mut || {
                d.clear();
                base64::engine::general_purpose::STANDARD.decode_vec(black_box(&text), &mut d).expect("base64");
            },
        ],
    );
    println!("\n| base64 of 3 KiB, GB/s of plain bytes | base64-simd | base64 |\n|---|---|---|");
    for (name, pair) in [("encode", &times[0..2]), ("decode", &times[2..4])] {
        let rate = |times| plain.len() as f64 / median(times) / 1000.0;
        println!("| {name} | {:.1} | {:.1} |", rate(&pair[0]), rate(&pair[1]));
    }
}

fn target_cell(figure: f64, target: f64) -> String {
    format!("≤ {target} {}", if figure <= target { "met" } else { "MISSED" })
}

/// Times of each contender in µs per run, one for each round.
fn in_turns(size: usize, contenders: &mut [&mut dyn FnMut()]) -> Vec<Vec<f64>> {
    let runs = ((256 << 10) / size).max(1); // short turns: few of them are interrupted
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..ROUNDS + 2 {
        for turn in 0..contenders.len() {
            let who = (round + turn) % contenders.len();
            let start = clock::now();
            for _ in 0..runs {
                contenders[who]();
            }
            // The first rounds warm up.
            if round >= 2 {
                times[who].push(start.elapsed().as_secs_f64() * 1e6 / runs as f64);
            }
        }
    }
    times
}

fn consume<T>(result: T) {
    black_box(result);
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(&ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
}

/// Bytes like JSON: no zero among them, and no pattern.
fn body(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        32 + (state >> 24) as u8 % 95
    })
    .take(size)
    .collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Seal,
    Open,
}

/// One thing to do, with its input.
struct Case {
    scheme: Scheme,
    direction: Direction,
    cipher: Cipher,
    plain: Vec<u8>,
    text: String,
    signed: String,
}

impl Case {
    fn all(size: usize) -> Vec<Self> {
        let mut cases = Vec::new();
        for scheme in [Scheme::EcbZero, Scheme::CbcPkcs7(Iv::Fixed(*IV))] {
            for direction in [Direction::Seal, Direction::Open] {
                let cipher = Cipher::try_new(&scheme, &Secret::new(*KEY)).expect("a key of 16 bytes");
                let plain = body(size);
                let sealed = cipher.seal(&plain);
                let text = std::str::from_utf8(&sealed.text).expect("base64").to_owned();
                let signed = sealed.signed.as_str().to_owned();
                let case = Self { scheme: scheme.clone(), direction, cipher, plain, text, signed };
                let expected = if direction == Direction::Seal { case.text.as_bytes() } else { &case.plain };
                assert_eq!(case.run(), expected);
                let mut theirs = case.openssl();
                assert_eq!(theirs.run(&case), expected);
                assert_eq!(theirs.run(&case), expected, "a reused context gives the same");
                cases.push(case);
            }
        }
        cases
    }

    fn is_ecb(&self) -> bool {
        self.scheme == Scheme::EcbZero
    }

    fn name(&self) -> &'static str {
        match (self.is_ecb(), self.direction) {
            (true, Direction::Seal) => "aes-ecb-zero seal",
            (true, Direction::Open) => "aes-ecb-zero open",
            (false, Direction::Seal) => "aes-cbc-pkcs7 seal",
            (false, Direction::Open) => "aes-cbc-pkcs7 open",
        }
    }

    fn run(&self) -> bytes::Bytes {
        match self.direction {
            Direction::Seal => {
                let sealed = self.cipher.seal(black_box(&self.plain));
                black_box(sealed.signed);
                sealed.text
            }
            Direction::Open => {
                let opened = self.cipher.open(black_box(self.text.as_bytes()), self.signed.as_bytes());
                bytes::Bytes::from(opened.expect("what was sealed"))
            }
        }
    }

    fn openssl(&self) -> OpenSsl {
        let algorithm = if self.is_ecb() { Algorithm::aes_128_ecb() } else { Algorithm::aes_128_cbc() };
        let iv = (!self.is_ecb()).then_some(IV.as_slice());
        let mut context = CipherCtx::new().expect("a context");
        match self.direction {
            Direction::Seal => context.encrypt_init(Some(algorithm), Some(KEY), iv),
            Direction::Open => context.decrypt_init(Some(algorithm), Some(KEY), iv),
        }
        .expect("a prepared key");
        context.set_padding(false);
        OpenSsl { context, iv }
    }
}

/// The same three steps with OpenSSL, as fast as its crate does them: a context whose key is prepared once, the
/// low-level SHA-256, base64 by `EVP_EncodeBlock` and `EVP_DecodeBlock`.
struct OpenSsl {
    context: CipherCtx,
    iv: Option<&'static [u8]>,
}

impl OpenSsl {
    fn run(&mut self, case: &Case) -> bytes::Bytes {
        match case.direction {
            Direction::Seal => self.seal(black_box(&case.plain)),
            Direction::Open => self.open(black_box(&case.text), &case.signed),
        }
    }

    fn seal(&mut self, plain: &[u8]) -> bytes::Bytes {
        black_box(openssl_sha256(plain));
        let padding = 16 - plain.len() % 16;
        let whole = plain.len() - plain.len() % 16;
        let mut last = [if self.iv.is_some() { padding as u8 } else { 0 }; 16];
        last[..plain.len() - whole].copy_from_slice(&plain[whole..]);
        if self.iv.is_some() {
            self.context.encrypt_init(None, None, self.iv).expect("the IV again");
        }
        let mut bytes = vec![0; whole + 32];
        let mut len = self.context.cipher_update(&plain[..whole], Some(&mut bytes)).expect("whole blocks");
        len += self.context.cipher_update(&last, Some(&mut bytes[len..])).expect("a block");
        bytes::Bytes::from(openssl::base64::encode_block(&bytes[..len]))
    }

    fn open(&mut self, text: &str, signed: &str) -> bytes::Bytes {
        let bytes = openssl::base64::decode_block(text).expect("base64");
        if self.iv.is_some() {
            self.context.decrypt_init(None, None, self.iv).expect("the IV again");
        }
        let mut plain = vec![0; bytes.len() + 16];
        let len = self.context.cipher_update(&bytes, Some(&mut plain)).expect("whole blocks");
        let len = if self.iv.is_some() {
            len - usize::from(plain[len - 1])
        } else {
            plain[..len].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
        };
        plain.truncate(len);
        assert_eq!(openssl_sha256(&plain), signed.as_bytes());
        bytes::Bytes::from(plain)
    }
}

/// In hex, as it travels.
fn openssl_sha256(plain: &[u8]) -> [u8; 64] {
    let mut digest = openssl::sha::Sha256::new();
    digest.update(black_box(plain));
    let mut hex = [0; 64];
    for (digits, byte) in hex.chunks_exact_mut(2).zip(digest.finish()) {
        digits[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        digits[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    hex
}
