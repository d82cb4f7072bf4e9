//! The fuzz targets without a fuzzer: each corpus (`fuzz/corpus`), and random changes of what is
//! in it. `make fuzz RUNS=…` is the real thing.
//! FUZZ_INPUTS (3000) for each target, FUZZ_SEED (1), FUZZ_ONLY: a part of the targets' names.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/random.rs"]
mod random;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

use random::{Random, number};

/// Bytes that mean something in one of the grammars.
const MEANING: &[u8] = b"/&=%+#?$ \0\x01\x7f\x80\xff0dm;";

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A few changes: of a byte, of a part, of two inputs joined.
fn change(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut below = |end: usize| usize::try_from(random.below(end as u64)).unwrap();
    let mut input = corpus[below(corpus.len())].clone();
    for _ in 0..=below(4) {
        let at = below(input.len() + 1);
        match below(5) {
            0 => input.insert(at, MEANING[below(MEANING.len())]),
            1 => input.truncate(at),
            2 => input.extend_from_slice(&corpus[below(corpus.len())]),
            3 if at < input.len() => drop(input.remove(at)),
            _ if at < input.len() => input[at] = u8::try_from(below(256)).unwrap(),
            _ => {}
        }
    }
    input
}

#[test]
fn neither_what_was_found_before_nor_random_bytes_make_a_target_panic() {
    let (inputs, mut random) = (number("FUZZ_INPUTS", 3_000), Random::new(number("FUZZ_SEED", 1)));
    let only = std::env::var("FUZZ_ONLY").unwrap_or_default();
    for (name, target) in targets::ALL.iter().filter(|(name, _)| name.contains(&only)) {
        let corpus = corpus(name);
        assert!(corpus.len() >= 10, "the corpus of {name} is there");
        corpus.iter().for_each(|input| target(input));
        for _ in 0..inputs {
            let input = change(&mut random, &corpus);
            let text = String::from_utf8_lossy(&input).into_owned();
            let ended = std::panic::catch_unwind(|| target(&input));
            assert!(ended.is_ok(), "{name}: {input:?} ({text})");
        }
        println!("{name}: {} of the corpus, {inputs} random ones", corpus.len());
    }
}
