//! Which letters the bytes of an RTF text are: by code page (`\ansicpg`, `\cpg`) or by the character set of the font.

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GBK, IBM866, MACINTOSH, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1250, WINDOWS_1251,
    WINDOWS_1252, WINDOWS_1253, WINDOWS_1254, WINDOWS_1255, WINDOWS_1256, WINDOWS_1257, WINDOWS_1258,
};

/// A way to read bytes as letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Known(&'static Encoding),
    /// A page of DOS: the upper 128 letters.
    Dos(&'static str),
    /// The Symbol and Wingdings fonts; of their letters only bullets mean the same to everybody.
    Symbol,
}

/// Code page 437 from 0x80 on.
const DOS_437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
/// Code page 850 from 0x80 on.
const DOS_850: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";

/// The encoding of a font's character set (RTF 1.9.1, `\fcharsetN`); `None` for those that follow the document and for those
/// without an encoding of their own.
pub(crate) fn encoding_of_font(charset: i32) -> Option<&'static Encoding> {
    match Charset::of_font(charset)? {
        Charset::Known(encoding) => Some(encoding),
        Charset::Dos(_) | Charset::Symbol => None,
    }
}

impl Charset {
    pub(super) const ANSI: Self = Self::Known(WINDOWS_1252);
    pub(super) const MAC: Self = Self::Known(MACINTOSH);

    /// The charset of a Windows code page; `None` for one that nobody uses in RTF.
    pub(super) fn of_page(page: i32) -> Option<Self> {
        let encoding = match page {
            437 => return Some(Self::Dos(DOS_437)),
            850 | 858 => return Some(Self::Dos(DOS_850)),
            866 => IBM866,
            874 => WINDOWS_874,
            932 => SHIFT_JIS,
            936 => GBK,
            949 | 1361 => EUC_KR,
            950 => BIG5,
            1250 => WINDOWS_1250,
            1251 => WINDOWS_1251,
            1252 => WINDOWS_1252,
            1253 => WINDOWS_1253,
            1254 => WINDOWS_1254,
            1255 => WINDOWS_1255,
            1256 => WINDOWS_1256,
            1257 => WINDOWS_1257,
            1258 => WINDOWS_1258,
            10_000 => MACINTOSH,
            65_001 => UTF_8,
            _ => return None,
        };
        Some(Self::Known(encoding))
    }

    /// The charset of a font (`\fcharset`); `None` for those that say nothing: ANSI and default.
    pub(super) fn of_font(charset: i32) -> Option<Self> {
        let page = match charset {
            2 => return Some(Self::Symbol),
            77 => 10_000,
            128 => 932,
            129 | 130 => 949,
            134 => 936,
            136 => 950,
            161 => 1253,
            162 => 1254,
            163 => 1258,
            177 => 1255,
            178..=180 => 1256,
            186 => 1257,
            204 => 1251,
            222 => 874,
            238 => 1250,
            254 => 437,
            255 => 850,
            _ => return None,
        };
        Self::of_page(page)
    }

    pub(super) fn decode(self, bytes: &[u8]) -> String {
        match self {
            Self::Known(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
            Self::Dos(upper) => bytes
                .iter()
                .map(|byte| match byte.checked_sub(128) {
                    Some(place) => upper.chars().nth(usize::from(place)).unwrap_or('\u{fffd}'),
                    None => char::from(*byte),
                })
                .collect(),
            Self::Symbol => bytes
                .iter()
                .map(|byte| match byte {
                    0x20..=0x7e => char::from(*byte),
                    _ => '•',
                })
                .collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn pages_are_complete() {
        for upper in [DOS_437, DOS_850] {
            assert_eq!(upper.chars().count(), 128);
        }
        assert_eq!(Charset::of_page(850).unwrap().decode(b"\x81ber \xe1"), "über ß");
        assert_eq!(Charset::of_font(204).unwrap().decode(b"\xc4\xee\xe3\xee\xe2\xee\xf0"), "Договор");
        assert_eq!(Charset::of_font(128).unwrap().decode(b"\x8c_\x96\xf1"), "契約");
        assert_eq!(Charset::of_font(0), None);
    }
}
