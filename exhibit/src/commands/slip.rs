//! `exhibit ledger slip`: the page in words, and the code beside them.

use chain_of_custody::checkpoint::SignedCheckpoint;
use chain_of_custody::slip::slip_page;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The page for a checkpoint as published. The code holds the checkpoint with the log's own signature: cosignatures would
/// make it too fine to photograph, and stand in the text.
pub(super) fn page(checkpoint: &str) -> String {
    let Ok(checkpoint) = checkpoint.parse::<SignedCheckpoint>() else {
        return "the checkpoint cannot be read: run exhibit ledger audit\n".to_owned();
    };
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let words = slip_page(&checkpoint, &now);
    match code(&checkpoint.bare().to_string()) {
        Some(code) => format!("{words}\n{code}\n"),
        None => words,
    }
}

/// Two rows of the code in a line of text, dark on light; none if the text is too long for one.
fn code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    Some(code.render::<Dense1x2>().build())
}

#[cfg(test)]
mod tests {
    use chain_of_custody::checkpoint::{Checkpoint, Origin};
    use chain_of_custody::ids::TreeSize;
    use chain_of_custody::merkle::Hash;
    use chain_of_custody::note::SigningKey;
    use chain_of_custody::slip::read_slip;

    use super::*;

    /// Pixels per module: a reader wants more than one.
    const SCALE: usize = 4;

    fn signed() -> SignedCheckpoint {
        let origin = Origin::new("ledger.essex.example").unwrap();
        let checkpoint = Checkpoint { origin, size: TreeSize(1_234_567), root: Hash([5; 32]) };
        let log = SigningKey::from_seed("ledger.essex.example", [1; 32]).unwrap();
        let mut signed = checkpoint.sign(&log).unwrap();
        let witness = SigningKey::for_cosignatures("witness.example", [2; 32]).unwrap();
        let line = signed.cosign(&witness, 1_795_370_700).unwrap();
        signed.set_cosignature(line).unwrap();
        signed
    }

    #[test]
    fn the_page_fits_on_paper_and_reads_back() {
        let page = page(&signed().to_string());
        assert!(page.lines().count() <= 66, "{} lines", page.lines().count());
        assert!(page.lines().all(|line| line.chars().count() <= 140), "{page}");
        assert_eq!(read_slip(page.as_bytes()).unwrap(), signed());
        let mailed = page.replace('\n', "\r\n");
        assert_eq!(read_slip(mailed.as_bytes()).unwrap(), signed());
        let cut_off = page.split("-----END").next().unwrap();
        assert!(read_slip(cut_off.as_bytes()).is_err());
    }

    /// A reader of codes that is not ours finds the checkpoint in what is printed.
    #[test]
    fn the_code_holds_the_checkpoint() {
        let page = page(&signed().to_string());
        let code = page.split("-----END CHECKPOINT-----\n").nth(1).unwrap();
        let rows: Vec<Vec<bool>> =
            code.lines().filter(|line| !line.is_empty()).flat_map(rows).collect();
        let (width, height) = (rows[0].len() * SCALE, rows.len() * SCALE);
        let dark = |x: usize, y: usize| rows[y / SCALE].get(x / SCALE).is_some_and(|dark| *dark);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            if dark(x, y) { 0 } else { 255 }
        });
        let grids = image.detect_grids();
        let (_, text) = grids[0].decode().unwrap();
        assert_eq!(read_slip(text.as_bytes()).unwrap(), signed().bare());
    }

    fn rows(line: &str) -> [Vec<bool>; 2] {
        let half = |upper: bool| {
            let dark =
                move |c: char| c == '\u{2588}' || c == if upper { '\u{2580}' } else { '\u{2584}' };
            line.chars().map(dark).collect()
        };
        [half(true), half(false)]
    }
}
