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
    /// Word 97 to 2003.
    Doc = "doc", "application/msword", ["doc", "dot"];
    /// PowerPoint 97 to 2003.
    Ppt = "ppt", "application/vnd.ms-powerpoint", ["ppt", "pps", "pot"];
    /// Excel 5 to 2003.
    Xls = "xls", "application/vnd.ms-excel", ["xls", "xlt"];
    /// An Office file inside an encryption wrapper (MS-OFFCRYPTO).
    EncryptedOffice = "encrypted_office", "application/x-ole-storage", ["docx", "xlsx", "pptx", "xlsb", "docm", "xlsm", "pptm"];
    /// OpenDocument spreadsheet.
    Ods = "ods", "application/vnd.oasis.opendocument.spreadsheet", ["ods", "ots"];
    /// OpenDocument text.
    Odt = "odt", "application/vnd.oasis.opendocument.text", ["odt", "ott"];
    /// OpenDocument presentation.
    Odp = "odp", "application/vnd.oasis.opendocument.presentation", ["odp", "otp"];
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
    Text = "text", "text/plain", ["txt", "text", "log", "json", "ics", "vcf", "asc", "ini", "yaml", "yml", "tex"];
    /// E-mail message (RFC 5322).
    Eml = "eml", "message/rfc822", ["eml", "email", "mht", "mhtml"];
    /// Mailbox of messages (RFC 4155).
    Mbox = "mbox", "application/mbox", ["mbox", "mbx"];
    /// Outlook message.
    Msg = "msg", "application/vnd.ms-outlook", ["msg", "oft"];
    /// Outlook store.
    Pst = "pst", "application/vnd.ms-outlook-pst", ["pst", "ost"];
    /// ZIP archive.
    Zip = "zip", "application/zip", ["zip", "jar", "pages", "numbers", "key"];
    /// Electronic book.
    Epub = "epub", "application/epub+zip", ["epub"];
    /// Tape archive.
    Tar = "tar", "application/x-tar", ["tar"];
    /// Gzip.
    Gzip = "gzip", "application/gzip", ["gz", "tgz"];
    /// Bzip2.
    Bzip2 = "bzip2", "application/x-bzip2", ["bz2", "tbz2"];
    /// 7-Zip archive.
    SevenZip = "7z", "application/x-7z-compressed", ["7z"];
    /// RAR archive.
    Rar = "rar", "application/vnd.rar", ["rar"];
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
        matches!(self, Self::Zip | Self::Eml | Self::Mbox)
    }

    /// True when [`Reader::extract`](crate::Reader::extract) has a reader for it.
    pub fn is_readable(self) -> bool {
        !matches!(
            self,
            Self::EncryptedOffice
                | Self::Odt
                | Self::Odp
                | Self::Rtf
                | Self::Msg
                | Self::Pst
                | Self::Epub
                | Self::Tar
                | Self::Gzip
                | Self::Bzip2
                | Self::SevenZip
                | Self::Rar
                | Self::CompoundFile
                | Self::Empty
                | Self::Unknown
        )
    }

    /// True for pictures, whose text can only come from OCR.
    pub fn is_image(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg | Self::Tiff | Self::Gif | Self::Bmp | Self::Webp)
    }

    /// True for formats that are text a person can read in an editor; their extensions say little.
    pub(crate) fn is_plain(self) -> bool {
        matches!(self, Self::Text | Self::Csv | Self::Markdown | Self::Html | Self::Xml | Self::Eml | Self::Mbox)
    }
}
