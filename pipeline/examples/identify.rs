//! `identify FOLDER` names every file under it by its bytes alone and compares with what others say: the extension of its
//! name and `file --mime-type` (libmagic). Where these two agree, their format is the only right answer; where they do not,
//! what libmagic says counts, and the extension where libmagic knows nothing. The last line of the output is
//! `{"files", "right", "wrong": [{"file", "found", "expected"}]}`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring program: it reads its arguments and files, and answers on stdout"
)]

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use pipeline::identify;
use serde_json::json;

/// What identification looks at.
const HEAD: u64 = 4 << 20;

/// Extension → the format it stands for.
const BY_EXTENSION: &[(&str, &[&str])] = &[
    ("pdf", &["pdf"]),
    ("docx", &["docx", "docm", "dotx", "dotm"]),
    ("pptx", &["pptx", "pptm", "ppsx", "ppsm", "potx"]),
    ("xlsx", &["xlsx", "xlsm", "xltx", "xltm"]),
    ("xlsb", &["xlsb"]),
    ("doc", &["doc", "dot"]),
    ("ppt", &["ppt", "pps", "pot"]),
    ("xls", &["xls", "xlt"]),
    ("odt", &["odt", "ott", "fodt"]),
    ("ods", &["ods", "ots", "fods"]),
    ("odp", &["odp", "otp", "fodp"]),
    ("rtf", &["rtf"]),
    ("html", &["html", "htm", "xhtml"]),
    ("xml", &["xml", "xsd", "xsl", "rdf", "svg"]),
    ("markdown", &["md", "markdown"]),
    ("csv", &["csv", "tsv"]),
    ("text", &["txt", "text", "log", "json", "ini", "yaml", "yml", "tex"]),
    ("eml", &["eml", "mht", "mhtml"]),
    ("mbox", &["mbox", "mbx"]),
    ("msg", &["msg", "oft"]),
    ("tnef", &["tnef"]),
    ("pkcs7", &["p7m", "p7s", "p7c", "p7b"]),
    ("ics", &["ics", "ifb"]),
    ("vcf", &["vcf", "vcard"]),
    ("pst", &["pst", "ost"]),
    ("zip", &["zip", "jar"]),
    ("iwork", &["pages", "numbers", "key"]),
    ("epub", &["epub"]),
    ("tar", &["tar"]),
    ("gzip", &["gz", "tgz"]),
    ("bzip2", &["bz2", "tbz2"]),
    ("xz", &["xz", "txz"]),
    ("zstd", &["zst", "tzst"]),
    ("7z", &["7z"]),
    ("rar", &["rar", "cbr"]),
    ("png", &["png"]),
    ("jpeg", &["jpg", "jpeg", "jpe"]),
    ("tiff", &["tif", "tiff"]),
    ("gif", &["gif"]),
    ("bmp", &["bmp", "dib"]),
    ("webp", &["webp"]),
    ("heif", &["heic", "heif", "hif", "avif"]),
    ("picture", &["jp2", "psd", "ico", "djvu", "wmf", "emf", "jxl"]),
    ("audio", &["mp3", "wav", "ogg", "flac", "m4a", "aac", "aiff", "amr", "opus", "mid"]),
    ("video", &["mp4", "mov", "avi", "mkv", "webm", "wmv", "flv", "mpg", "mpeg", "m4v"]),
    ("cad", &["dwg", "dxf", "step", "stp"]),
    ("executable", &["exe", "dll", "so", "class", "wasm", "dex"]),
    ("font", &["ttf", "otf", "woff", "woff2", "ttc"]),
    ("wordperfect", &["wpd", "wp6", "wp5"]),
    ("postscript", &["ps", "eps"]),
    ("data", &["sqlite", "mdb", "accdb"]),
    ("archive", &["cab", "iso", "cpio", "lz", "lz4", "deb", "rpm", "ar"]),
];

const OFFICE: &[&str] = &["doc", "xls", "ppt", "msg", "compound_file", "encrypted_office"];
const PACKAGES: &[&str] = &["docx", "xlsx", "xlsb", "pptx"];
const OPEN: &[&str] = &["odt", "ods", "odp"];
const PLAIN: &[&str] = &["text", "csv", "markdown", "eml", "mbox", "ics", "vcf", "html", "xml", "rtf"];

/// What libmagic says → the formats that may be behind it.
const BY_MEDIA_TYPE: &[(&str, &[&[&str]])] = &[
    ("inode/x-empty", &[&["empty"]]),
    ("application/x-empty", &[&["empty"]]),
    ("application/pdf", &[&["pdf"]]),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml", &[&["docx"]]),
    ("application/vnd.openxmlformats-officedocument.presentationml", &[&["pptx"]]),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml", &[&["xlsx", "xlsb"]]),
    ("application/vnd.ms-word", &[&["docx", "doc"]]),
    ("application/vnd.oasis.opendocument.text", &[&["odt"]]),
    ("application/vnd.oasis.opendocument.spreadsheet", &[&["ods"]]),
    ("application/vnd.oasis.opendocument.presentation", &[&["odp"]]),
    ("application/epub+zip", &[&["epub"]]),
    ("application/java-archive", &[&["zip"]]),
    ("application/zip", &[&["zip", "epub", "iwork"], PACKAGES, OPEN]),
    ("application/encrypted", &[&["encrypted_office"]]),
    ("application/msword", &[&["doc"]]),
    ("application/vnd.ms-excel", &[&["xls"]]),
    ("application/vnd.ms-powerpoint", &[&["ppt"]]),
    ("application/vnd.ms-outlook", &[&["msg", "pst"]]),
    ("application/x-ole-storage", &[OFFICE]),
    ("application/CDFV2", &[OFFICE]),
    ("application/vnd.ms-tnef", &[&["tnef"]]),
    ("application/ms-tnef", &[&["tnef"]]),
    ("application/pgp", &[PLAIN]),
    ("application/gzip", &[&["gzip"]]),
    ("application/x-bzip2", &[&["bzip2"]]),
    ("application/x-xz", &[&["xz"]]),
    ("application/zstd", &[&["zstd"]]),
    ("application/x-7z", &[&["7z"]]),
    ("application/x-rar", &[&["rar"]]),
    ("application/vnd.rar", &[&["rar"]]),
    ("application/x-tar", &[&["tar"]]),
    ("application/mbox", &[&["mbox"]]),
    ("application/json", &[&["text"]]),
    ("application/x-ndjson", &[&["text"]]),
    ("application/javascript", &[&["text"]]),
    ("application/postscript", &[&["postscript"]]),
    ("application/x-dosexec", &[&["executable"]]),
    ("application/vnd.microsoft.portable-executable", &[&["executable"]]),
    ("application/x-executable", &[&["executable"]]),
    ("application/x-pie-executable", &[&["executable"]]),
    ("application/x-sharedlib", &[&["executable"]]),
    ("application/x-mach-binary", &[&["executable"]]),
    ("application/x-java-applet", &[&["executable"]]),
    ("application/wasm", &[&["executable"]]),
    ("application/font", &[&["font"]]),
    ("application/vnd.ms-opentype", &[&["font"]]),
    ("application/vnd.wordperfect", &[&["wordperfect"]]),
    ("application/vnd.sqlite3", &[&["data"]]),
    ("application/x-sqlite3", &[&["data"]]),
    ("application/x-msaccess", &[&["data"]]),
    ("application/x-iso9660-image", &[&["archive"]]),
    ("application/vnd.ms-cab-compressed", &[&["archive"]]),
    ("application/x-cpio", &[&["archive"]]),
    ("application/x-archive", &[&["archive"]]),
    ("application/x-rpm", &[&["archive"]]),
    ("application/vnd.debian.binary-package", &[&["archive"]]),
    ("application/x-lz4", &[&["archive"]]),
    ("application/dicom", &[&["picture"]]),
    ("image/vnd.dwg", &[&["cad"]]),
    ("image/vnd.dxf", &[&["cad"]]),
    ("image/svg", &[&["xml"]]),
    ("image/png", &[&["png"]]),
    ("image/jpeg", &[&["jpeg"]]),
    ("image/tiff", &[&["tiff"]]),
    ("image/gif", &[&["gif"]]),
    ("image/bmp", &[&["bmp"]]),
    ("image/x-ms-bmp", &[&["bmp"]]),
    ("image/webp", &[&["webp"]]),
    ("image/heif", &[&["heif"]]),
    ("image/heic", &[&["heif"]]),
    ("image/avif", &[&["heif"]]),
    ("image/", &[&["picture"]]),
    ("audio/", &[&["audio"]]),
    ("video/", &[&["video"]]),
    ("font/", &[&["font"]]),
    ("message/", &[&["eml", "mbox"]]),
    ("text/rtf", &[&["rtf"]]),
    ("text/html", &[&["html", "eml", "xml"]]),
    ("text/xml", &[&["xml", "html"], OPEN]),
    ("text/calendar", &[&["ics"]]),
    ("text/vcard", &[&["vcf"]]),
    ("text/x-vcard", &[&["vcf"]]),
    ("text/csv", &[&["csv"]]),
    ("text/", &[PLAIN]),
];

fn main() -> ExitCode {
    let Some(folder) = env::args().nth(1) else {
        eprintln!("usage: identify FOLDER");
        return ExitCode::FAILURE;
    };
    match compare(Path::new(&folder)) {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("identify: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(folder: &Path) -> io::Result<serde_json::Value> {
    let mut files = Vec::new();
    walk(folder, &mut files)?;
    files.sort();
    let media_types = libmagic(&files)?;
    let (mut right, mut wrong) = (0_u32, Vec::new());
    for (file, media_type) in files.iter().zip(&media_types) {
        let mut head = Vec::new();
        File::open(file)?.take(HEAD).read_to_end(&mut head)?;
        let found = identify(&head, "").format.name();
        let expected = expected(file, media_type);
        if expected.contains(&found) {
            right = right.saturating_add(1);
        } else {
            let name = file.strip_prefix(folder).unwrap_or(file).to_string_lossy();
            wrong.push(json!({ "file": name, "found": found, "expected": expected.join(" or ") }));
        }
    }
    Ok(json!({ "files": files.len(), "right": right, "wrong": wrong }))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// The media type of each file, by the program `file`.
fn libmagic(files: &[PathBuf]) -> io::Result<Vec<String>> {
    let mut media_types = Vec::new();
    for some in files.chunks(200) {
        let output =
            Command::new("file").args(["--brief", "--mime-type", "--"]).args(some).stdin(Stdio::null()).output()?;
        media_types.extend(String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()));
    }
    if media_types.len() != files.len() {
        io::stderr().write_all(b"identify: file(1) did not answer for each file\n")?;
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(media_types)
}

/// The right answers.
fn expected(file: &Path, media_type: &str) -> Vec<&'static str> {
    let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let promised =
        BY_EXTENSION.iter().find(|(_, known)| known.contains(&extension.as_str())).map(|(format, _)| *format);
    let magic =
        BY_MEDIA_TYPE.iter().find(|(known, _)| media_type.starts_with(known)).map(|(_, formats)| formats.concat());
    match (promised, magic) {
        // Without a grammar of their own these are text.
        (Some(format @ ("csv" | "markdown" | "xml")), Some(_)) if media_type == "text/plain" => vec![format, "text"],
        (Some(format), Some(magic)) if magic.contains(&format) => vec![format],
        (_, Some(magic)) => magic,
        (Some(format), None) => vec![format],
        (None, None) => vec!["unknown", "compound_file"],
    }
}
