//! What the disk takes for an fdatasync.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use crate::histogram::Histogram;
use crate::options::Sync;

/// Prints NAME=NUMBER….
pub(crate) fn run(options: &Sync) -> Result<(), String> {
    let path = options.folder.join("edge-load-sync");
    let result = measure(&path, options.count);
    let _ = std::fs::remove_file(&path);
    let times = result.map_err(|error| format!("{}: {error}", path.display()))?;
    let (half, most) = (times.milliseconds(0.5), times.milliseconds(0.99));
    println!("fdatasync_p50_ms={half:.3} fdatasync_p99_ms={most:.3}");
    Ok(())
}

fn measure(path: &std::path::Path, count: u32) -> std::io::Result<Histogram> {
    let file = File::create(path)?;
    let mut times = Histogram::new();
    file.write_all_at(&[1; 1 << 16], 0)?;
    file.sync_all()?;
    for number in 0..count {
        let begin = Instant::now();
        file.write_all_at(&[number as u8; 4096], u64::from(number % 16) * 4096)?;
        file.sync_data()?;
        times.record(begin.elapsed().as_nanos() as u64);
    }
    Ok(times)
}
