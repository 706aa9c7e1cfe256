// Figures as a person reads them. What is not known is a dash, never 0.

export const NOTHING = "–";

const known = (value) => typeof value === "number" && Number.isFinite(value);

/** Microseconds as milliseconds, three significant digits: "0.42", "4.70", "16.7". */
export function milliseconds(us) {
  if (!known(us)) return NOTHING;
  const ms = us / 1000;
  return ms.toFixed(ms < 10 ? 2 : ms < 100 ? 1 : 0);
}

/** kbit/s as Mbit/s. */
export function megabits(kbps) {
  if (!known(kbps)) return NOTHING;
  const value = kbps / 1000;
  return value.toFixed(value < 10 ? 2 : 1);
}

export function number(value, digits = 0) {
  return known(value) ? value.toFixed(digits) : NOTHING;
}

/** A count with narrow spaces between thousands. */
export function count(value) {
  return known(value) ? String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u202f") : NOTHING;
}

export function permille(value, digits = 1) {
  return known(value) ? (value / 10).toFixed(digits) : NOTHING;
}

/** Seconds as "8 s", "3 min 12 s", "2 h 5 min". */
export function duration(seconds) {
  if (!known(seconds)) return NOTHING;
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** Seconds as a clock that runs down: "1:43". */
export function countdown(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** The length of a fingerprint that fits a line; the whole one stands in the title or beside it. */
export function short(fingerprint) {
  return fingerprint.length > 20 ? `${fingerprint.slice(0, 16)}…` : fingerprint;
}

/** Hex digits in groups of eight, to be compared by eye. */
export function grouped(fingerprint) {
  return fingerprint.replace(/(.{8})(?=.)/g, "$1 ");
}

/** `frames_queue_dropped` as "frames queue dropped", `fec_percent` as "FEC percent". */
export function words(name) {
  return name.replaceAll("_", " ").replace(/\b(fec|pin|gso)\b/g, (short) => short.toUpperCase());
}
