use rmpv::Value;
use serde::ser::{Error, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// How deep a value may be nested, as with JSON.
const MAX_DEPTH: usize = 128;

/// The type of msgpack's own extension: a time.
const TIMESTAMP: i8 = -1;

/// Reads one value.
///
/// # Errors
/// It is none, or there is something behind it.
pub(super) fn read(mut bytes: &[u8]) -> Result<Value, String> {
    let value = rmpv::decode::read_value_with_max_depth(&mut bytes, MAX_DEPTH)
        .map_err(|error| format!("is no MessagePack: {error}"))?;
    if bytes.is_empty() { Ok(value) } else { Err(format!("has {} bytes behind its MessagePack", bytes.len())) }
}

/// A value as the JSON that JavaScript would make of it.
///
/// # Errors
/// It has bytes in it, which JSON has not.
pub(super) fn to_json(value: &Value) -> Result<Box<RawValue>, String> {
    serde_json::value::to_raw_value(&Json(value)).map_err(|error| error.to_string())
}

/// The value under a key of a map.
pub(super) fn get<'a>(map: &'a Value, key: &str) -> Option<&'a Value> {
    map.as_map()?.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
}

struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Nil => serializer.serialize_unit(),
            Value::Boolean(value) => serializer.serialize_bool(*value),
            Value::Integer(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => serializer.serialize_u64(number),
                (None, number) => serializer.serialize_i64(number.unwrap_or_default()),
            },
            Value::F32(number) => serializer.serialize_f32(*number),
            Value::F64(number) => serializer.serialize_f64(*number),
            Value::String(text) => match text.as_str() {
                Some(text) => serializer.serialize_str(text),
                None => Err(S::Error::custom("has a text that is not UTF-8")),
            },
            Value::Array(values) => {
                let mut seq = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    seq.serialize_element(&Json(value))?;
                }
                seq.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    match key.as_str() {
                        Some(key) => map.serialize_entry(key, &Json(value))?,
                        None => map.serialize_entry(&key.to_string(), &Json(value))?,
                    }
                }
                map.end()
            }
            Value::Binary(bytes) => {
                Err(S::Error::custom(format!("has {} bytes in it, and only JSON is passed on", bytes.len())))
            }
            Value::Ext(TIMESTAMP, bytes) => match timestamp(bytes) {
                Some(text) => serializer.serialize_str(&text),
                None => Err(S::Error::custom("has a time that cannot be read")),
            },
            Value::Ext(kind, _) => Err(S::Error::custom(format!("has an extension of type {kind}"))),
        }
    }
}

/// A time as `Date.prototype.toJSON` has it, from one of the three forms of msgpack.
fn timestamp(bytes: &[u8]) -> Option<String> {
    let (seconds, nanos) = match bytes.len() {
        4 => (i64::from(u32::from_be_bytes(bytes.try_into().ok()?)), 0),
        8 => {
            let both = u64::from_be_bytes(bytes.try_into().ok()?);
            (i64::try_from(both & 0x3_ffff_ffff).ok()?, u32::try_from(both >> 34).ok()?)
        }
        12 => {
            let (nanos, seconds) = bytes.split_at(4);
            (i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(nanos.try_into().ok()?))
        }
        _ => return None,
    };
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days)?;
    let (hour, minute, second, milli) = (second / 3600, second / 60 % 60, second % 60, nanos / 1_000_000);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
}

/// Year, month and day of so many days since the Unix epoch, in the years that have four digits.
fn civil(days: i64) -> Option<(i64, i64, i64)> {
    /// Days from 0000-03-01 to 1970-01-01, and to 10000-01-01: eras of 400 years begin in March.
    const TO_1970: i64 = 719_468;
    const FOUR_DIGITS: std::ops::Range<i64> = -719_528..2_932_897;
    if !FOUR_DIGITS.contains(&days) {
        return None;
    }
    let shifted = days + TO_1970;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    Some((year_of_era + era * 400 + i64::from(month <= 2), month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(bytes: &[u8]) -> Result<String, String> {
        to_json(&read(bytes)?).map(|json| json.get().to_owned())
    }

    #[test]
    fn values_become_json() {
        assert_eq!(json(&[0x82, 0xa1, b'b', 0x01, 0xa1, b'a', 0xff]).unwrap(), r#"{"b":1,"a":-1}"#, "in their order");
        assert_eq!(json(&[0x93, 0xc0, 0xc2, 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]).unwrap(), "[null,false,null]");
        assert_eq!(json(&[0x81, 0x05, 0xc3]).unwrap(), r#"{"5":true}"#);
        assert_eq!(json(&[0xd6, 0xff, 0x5f, 0xb0, 0x0a, 0x80]).unwrap(), r#""2020-11-14T16:49:04.000Z""#);
        for wrong in [&[0xc4, 1, 0][..], &[0xd4, 5, 0], &[0x93, 0x01], &[0x01, 0x01], &[0xa1, 0xff], &[]] {
            assert!(json(wrong).is_err(), "{wrong:?}");
        }
        let mut deep = vec![0x91; 1_000_000];
        deep.push(0xc0);
        assert!(json(&deep).is_err());
    }

    #[test]
    fn times_are_as_javascript_writes_them() {
        let at = |seconds: i64, nanos: u32| timestamp(&[&nanos.to_be_bytes()[..], &seconds.to_be_bytes()].concat());
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00.000Z"),
            (1_732_252_800, 123_999_999, "2024-11-22T05:20:00.123Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000Z"),
            (-1, 0, "1969-12-31T23:59:59.000Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(at(seconds, nanos).as_deref(), Some(text));
        }
        assert_eq!(at(253_402_300_800, 0), None);
        let eight = (5_000_000_u64 << 34) | 1_732_252_800;
        assert_eq!(timestamp(&eight.to_be_bytes()).as_deref(), Some("2024-11-22T05:20:00.005Z"));
    }
}
