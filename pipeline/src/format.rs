//! The formats dia knows by name: what each is called, its media type, its extensions, and whether it has members.

use serde::{Deserialize, Serialize};

macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $media:literal, [$($extension:literal),*];)+) => {
        /// What a file is, by its bytes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Format {
            $($(#[$doc])* $variant,)+
        }

        impl Format {
            /// All formats.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in rows and JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The media type (RFC 6838).
            pub fn media_type(self) -> &'static str {
                match self { $(Self::$variant => $media,)+ }
            }

            /// File name extensions, lower case, the usual one first.
            pub fn extensions(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($extension),*],)+ }
            }
        }
    };
}

formats! {
    /// Portable Document Format.
    Pdf = "pdf", "application/pdf", ["pdf"];
    /// Word, Office Open XML.
    Docx = "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", ["docx", "docm", "dotx", "dotm"];
    /// PowerPoint, Office Open XML.
    Pptx = "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", ["pptx", "pptm", "ppsx", "ppsm", "potx"];
    /// Excel, Office Open XML.
    Xlsx = "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ["xlsx", "xlsm", "xltx", "xltm"];
    /// Excel, binary parts in an Office package.
    Xlsb = "xlsb", "application/vnd.ms-excel.sheet.binary.macroenabled.12", ["xlsb"];
    /// Word up to 2003, and Write.
    Doc = "doc", "application/msword", ["doc", "dot", "wri"];
    /// PowerPoint 97 to 2003.
    Ppt = "ppt", "application/vnd.ms-powerpoint", ["ppt", "pps", "pot"];
    /// Excel 5 to 2003.
    Xls = "xls", "application/vnd.ms-excel", ["xls", "xlt"];
    /// An Office file inside an encryption wrapper (MS-OFFCRYPTO).
    EncryptedOffice = "encrypted_office", "application/x-ole-storage", ["docx", "xlsx", "pptx", "xlsb", "docm", "xlsm", "pptm"];
    /// OpenDocument spreadsheet.
    Ods = "ods", "application/vnd.oasis.opendocument.spreadsheet", ["ods", "ots", "fods", "sxc", "stc"];
    /// OpenDocument text.
    Odt = "odt", "application/vnd.oasis.opendocument.text", ["odt", "ott", "fodt", "sxw", "stw"];
    /// OpenDocument presentation.
    Odp = "odp", "application/vnd.oasis.opendocument.presentation", ["odp", "otp", "fodp", "sxi", "sti"];
    /// `OpenDocument` drawing.
    Odg = "odg", "application/vnd.oasis.opendocument.graphics", ["odg", "otg", "fodg", "sxd", "std"];
    /// Rich Text Format.
    Rtf = "rtf", "application/rtf", ["rtf", "doc"];
    /// Web page.
    Html = "html", "text/html", ["html", "htm", "xhtml"];
    /// Other XML.
    Xml = "xml", "application/xml", ["xml", "xsd", "xsl", "rdf", "svg"];
    /// Markdown.
    Markdown = "markdown", "text/markdown", ["md", "markdown"];
    /// Comma or tab separated values.
    Csv = "csv", "text/csv", ["csv", "tsv"];
    /// Plain text.
    Text = "text", "text/plain", ["txt", "text", "log", "json", "asc", "ini", "yaml", "yml", "tex"];
    /// E-mail message (RFC 5322).
    Eml = "eml", "message/rfc822", ["eml", "email", "mht", "mhtml"];
    /// Mailbox of messages (RFC 4155).
    Mbox = "mbox", "application/mbox", ["mbox", "mbx"];
    /// Outlook message.
    Msg = "msg", "application/vnd.ms-outlook", ["msg", "oft"];
    /// Outlook message in transport (`winmail.dat`).
    Tnef = "tnef", "application/ms-tnef", ["tnef"];
    /// Signed or encrypted content (CMS), or a signature alone.
    Pkcs7 = "pkcs7", "application/pkcs7-mime", ["p7m", "p7s", "p7c", "p7b"];
    /// Calendar (iCalendar).
    Ics = "ics", "text/calendar", ["ics", "ifb", "vcs"];
    /// Business cards (vCard).
    Vcf = "vcf", "text/vcard", ["vcf", "vcard"];
    /// Outlook store.
    Pst = "pst", "application/vnd.ms-outlook-pst", ["pst", "ost"];
    /// ZIP archive.
    Zip = "zip", "application/zip", ["zip", "jar"];
    /// Pages, Numbers and Keynote.
    Iwork = "iwork", "application/vnd.apple.iwork", ["pages", "numbers", "key"];
    /// Electronic book.
    Epub = "epub", "application/epub+zip", ["epub"];
    /// Tape archive.
    Tar = "tar", "application/x-tar", ["tar"];
    /// Gzip.
    Gzip = "gzip", "application/gzip", ["gz", "tgz"];
    /// Bzip2.
    Bzip2 = "bzip2", "application/x-bzip2", ["bz2", "tbz2"];
    /// XZ.
    Xz = "xz", "application/x-xz", ["xz", "txz"];
    /// Zstandard (RFC 8878).
    Zstd = "zstd", "application/zstd", ["zst", "zstd", "tzst"];
    /// 7-Zip archive.
    SevenZip = "7z", "application/x-7z-compressed", ["7z"];
    /// RAR archive.
    Rar = "rar", "application/vnd.rar", ["rar", "cbr"];
    /// PNG image.
    Png = "png", "image/png", ["png"];
    /// JPEG image.
    Jpeg = "jpeg", "image/jpeg", ["jpg", "jpeg", "jpe", "jfif"];
    /// TIFF image, one or more pages.
    Tiff = "tiff", "image/tiff", ["tiff", "tif"];
    /// GIF image.
    Gif = "gif", "image/gif", ["gif"];
    /// Windows bitmap.
    Bmp = "bmp", "image/bmp", ["bmp", "dib"];
    /// WebP image.
    Webp = "webp", "image/webp", ["webp"];
    /// HEIF picture, as telephones take them (HEVC inside), or AVIF.
    Heif = "heif", "image/heif", ["heic", "heif", "hif", "avif"];
    /// `WordPerfect`.
    WordPerfect = "wordperfect", "application/vnd.wordperfect", ["wpd", "wp", "wp5", "wp6"];
    /// Any other archive, disk image or installation package.
    Archive = "archive", "application/octet-stream", ["cab", "iso", "cpio", "lz", "lz4", "deb", "rpm", "ar"];
    /// Any other picture.
    Picture = "picture", "application/octet-stream", ["jp2", "psd", "ico", "djvu", "wmf", "emf", "jxl"];
    /// Sound.
    Audio = "audio", "application/octet-stream", ["mp3", "wav", "ogg", "flac", "m4a", "aac", "aiff", "amr", "opus", "mid", "wma"];
    /// Moving pictures.
    Video = "video", "application/octet-stream", ["mp4", "mov", "avi", "mkv", "webm", "wmv", "flv", "mpg", "mpeg", "m4v"];
    /// Computer-aided design (DWG, DXF, STEP).
    Cad = "cad", "application/octet-stream", ["dwg", "dxf", "step", "stp"];
    /// Programs and their libraries.
    Executable = "executable", "application/octet-stream", ["exe", "dll", "so", "class", "wasm", "dex"];
    /// Typefaces.
    Font = "font", "application/octet-stream", ["ttf", "otf", "ttc", "woff", "woff2"];
    /// Databases (SQLite, Access).
    Data = "data", "application/octet-stream", ["sqlite", "mdb", "accdb"];
    /// Pages as programs for a printer.
    PostScript = "postscript", "application/postscript", ["ps", "eps"];
    /// Some other compound file of Microsoft's kind.
    CompoundFile = "compound_file", "application/x-ole-storage", ["msi", "vsd", "pub", "mpp", "one"];
    /// Zero bytes.
    Empty = "empty", "application/x-empty", [];
    /// None of the above.
    Unknown = "unknown", "application/octet-stream", [];
}

impl Format {
    /// The format of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.name() == name)
    }

    /// True when [`Reader::unpack`](crate::Reader::unpack) can give members.
    pub fn is_container(self) -> bool {
        matches!(
            self,
            Self::Zip
                | Self::Tar
                | Self::Gzip
                | Self::Bzip2
                | Self::Xz
                | Self::Zstd
                | Self::SevenZip
                | Self::Rar
                | Self::EncryptedOffice
                | Self::Eml
                | Self::Mbox
                | Self::Msg
                | Self::Pst
                | Self::Tnef
                | Self::Pkcs7
                | Self::Pdf
                | Self::Docx
                | Self::Pptx
                | Self::Xlsx
                | Self::Xlsb
        )
    }

    /// True when what its container is good for is mostly its own text: one that does not give up its members is read all
    /// the same.
    pub fn is_document(self) -> bool {
        self.is_container() && !self.is_archive() && !self.is_mail_store()
    }

    /// True when [`Reader::extract`](crate::Reader::extract) has a reader for it.
    pub fn is_readable(self) -> bool {
        !matches!(
            self,
            Self::Archive
                | Self::Picture
                | Self::Audio
                | Self::Video
                | Self::Cad
                | Self::Executable
                | Self::Font
                | Self::Data
                | Self::Heif
                | Self::WordPerfect
                | Self::PostScript
                | Self::CompoundFile
                | Self::Empty
                | Self::Unknown
        )
    }

    /// Why a format that is not readable has no reader, and what to do about it.
    pub fn unsupported(self) -> String {
        match self {
            Self::Heif => "no reader for HEIF: its pictures are compressed with HEVC or AV1, which no freely licensed \
                decoder reads here; convert it to JPEG"
                .to_owned(),
            Self::WordPerfect => "no reader for WordPerfect; convert it to PDF or DOCX".to_owned(),
            Self::Archive => {
                "archives of this kind cannot be opened here; unpack it and upload what is in it".to_owned()
            }
            Self::Audio | Self::Video => "no reader for sound and moving pictures; listen to or watch it".to_owned(),
            Self::Cad => "no reader for drawings; print it to PDF and upload that".to_owned(),
            Self::PostScript => "no reader for PostScript; convert it to PDF and upload that".to_owned(),
            Self::Executable => "a program, not a document".to_owned(),
            Self::Font => "a typeface, not a document".to_owned(),
            _ => format!("no reader for {}", self.media_type()),
        }
    }

    /// True for a store of messages: not a document with attachments but a folder, so each message in it begins a family.
    pub fn is_mail_store(self) -> bool {
        matches!(self, Self::Mbox | Self::Pst)
    }

    /// True for files that only hold other files: each member stands for itself.
    pub fn is_archive(self) -> bool {
        matches!(
            self,
            Self::Zip
                | Self::Tar
                | Self::Gzip
                | Self::Bzip2
                | Self::Xz
                | Self::Zstd
                | Self::SevenZip
                | Self::Rar
                | Self::Archive
        )
    }

    /// True for pictures, whose text can only come from OCR.
    pub fn is_image(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg | Self::Tiff | Self::Gif | Self::Bmp | Self::Webp)
    }

    /// True for formats that are text a person can read in an editor; their extensions say little.
    pub(crate) fn is_plain(self) -> bool {
        matches!(
            self,
            Self::Text
                | Self::Csv
                | Self::Markdown
                | Self::Html
                | Self::Xml
                | Self::Eml
                | Self::Mbox
                | Self::Ics
                | Self::Vcf
        )
    }
}
