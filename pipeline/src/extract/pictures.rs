//! Pictures in Office documents: a scan pasted into a letter, a screenshot on a slide. Each that is as large as part of a page, and
//! smaller ones where there is no text at all, is recognised and becomes a page of its own behind the text, labelled with its name; one on
//! which nothing is recognised leaves no page. Metafiles, and pictures of the binary formats before 2007, are not looked at.

use std::io::Cursor;

use domain::outcome::Exception;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::{
    Scans,
    image::{on_white, page_size},
    is_blank,
    package::Package,
};
use crate::{
    compose::Composer,
    format::Format,
    sniff::{find, identify},
};

/// Folders of a package that hold its pictures: Office Open XML's and `OpenDocument`'s.
const FOLDERS: [&str; 4] = ["word/media/", "ppt/media/", "xl/media/", "Pictures/"];
/// Pixels that a picture must have where nothing else of the document is text.
const ALONE: u64 = 40_000;
/// Most pictures of one document that are looked at.
const MOST: usize = 500;

/// The package again, if the format may hold pictures and these bytes seem to.
pub(super) fn beside(format: Format, bytes: &[u8], scans: &Scans<'_>) -> Option<Vec<u8>> {
    let holds = matches!(
        format,
        Format::Docx | Format::Pptx | Format::Xlsx | Format::Odt | Format::Odp | Format::Ods | Format::Odg
    );
    // The folder's name stands as it is in the file's directory.
    let seems = FOLDERS.iter().any(|folder| find(bytes, folder.as_bytes()).is_some());
    (holds && seems && scans.settings.picture_pixels > 0).then(|| bytes.to_vec())
}

/// Sends the pictures of a package to be recognised. Those that cannot be opened are passed over: the text does not stand on them.
pub(super) fn read(package: Vec<u8>, composer: &mut Composer, scans: &mut Scans<'_>) -> Result<(), Exception> {
    let Ok(mut package) = Package::open(package) else { return Ok(()) };
    let is_alone = composer.is_blank();
    let fewest = if is_alone { ALONE } else { scans.settings.picture_pixels };
    for name in names(&package).into_iter().take(MOST) {
        let Some(picture) = package.part(&name).and_then(|bytes| open(bytes, &name, fewest, scans)) else { continue };
        let grey = on_white(&picture);
        if is_blank(&grey) {
            continue;
        }
        if !scans.available() {
            // Text that is there can do without; a document of nothing but pictures cannot.
            if is_alone && composer.begin_page(None, None) {
                Scans::unavailable(composer);
            }
            return Ok(());
        }
        let dpi = scans.settings.ocr_dpi;
        let label = name.rsplit('/').next().map(str::to_owned);
        if !composer.begin_page(Some(page_size(picture.width(), picture.height(), dpi)), label) {
            return Ok(());
        }
        scans.recognise_beside(composer, grey, dpi)?;
    }
    Ok(())
}

/// Pictures in the order of their numbers, then of the package: `image2.png` comes before `image10.png`.
fn names(package: &Package) -> Vec<String> {
    let is_picture = |name: &&String| FOLDERS.iter().any(|folder| name.starts_with(folder)) && !name.ends_with('/');
    let mut names: Vec<String> = package.names().iter().filter(is_picture).cloned().collect();
    names.sort_by_key(|name| {
        let digits: String = name.chars().filter(char::is_ascii_digit).take(9).collect();
        // The names OpenDocument gives are digests.
        if name.starts_with("Pictures/") { 0 } else { digits.parse::<u32>().unwrap_or(0) }
    });
    names
}

fn open(bytes: Vec<u8>, name: &str, fewest: u64, scans: &Scans<'_>) -> Option<DynamicImage> {
    let format = match identify(&bytes, name).format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Tiff => ImageFormat::Tiff,
        Format::Gif => ImageFormat::Gif,
        Format::Bmp => ImageFormat::Bmp,
        Format::Webp => ImageFormat::WebP,
        _ => return None,
    };
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width).saturating_mul(u64::from(height));
    if pixels < fewest || pixels > scans.settings.limits.max_pixels {
        return None;
    }
    let orientation = decoder.orientation().ok();
    let mut picture = DynamicImage::from_decoder(decoder).ok()?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    Some(picture)
}
