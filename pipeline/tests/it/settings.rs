//! The configuration section: defaults for what is left out, refusal of what is not known.

use pipeline::Settings;

#[test]
fn keys_have_defaults_and_typos_are_errors() {
    assert_eq!(toml::from_str::<Settings>("").unwrap(), Settings::default());
    let settings: Settings = toml::from_str("ocr_dpi = 300\n[limits]\nmax_depth = 3").unwrap();
    assert_eq!((settings.ocr_dpi, settings.limits.max_depth, settings.limits.max_ratio), (300, 3, 200));
    assert!(toml::from_str::<Settings>("[limits]\nmax_dept = 3").is_err());
    assert!(toml::from_str::<Settings>("ocr = true").is_err());
}

#[test]
fn nothing_is_discovered_where_nothing_is() {
    let settings = Settings::default().discover(Some("/nonexistent:/also/not"), Some("/nonexistent"));
    assert_eq!(settings.tesseract, None);
}
