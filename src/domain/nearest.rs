//! What was meant by a word that is not known.

/// The known word that is near, if one is; in any case.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let near =
        known.map(|other| (strsim::damerau_levenshtein(&word, &other.to_lowercase()), other));
    let best = near.min_by_key(|(distance, _)| *distance);
    best.filter(|(distance, other)| *distance <= 1.max(other.len() / 3)).map(|(_, other)| other)
}
