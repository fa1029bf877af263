// Numbers as people read them; the same rules as the reports'.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const NOTHING = "–";

export const count = (value) => whole.format(value);

export function percent(fraction, digits = 1) {
  return fraction === null ? NOTHING : `${(100 * fraction).toFixed(digits)} %`;
}

/** A share of the fleet: two digits that mean something, however small it is. */
export function share(fraction) {
  const value = 100 * fraction;
  return `${value === 0 ? "0" : value < 1 ? value.toPrecision(2) : value.toFixed(1)} %`;
}

export function size(bytes) {
  if (bytes < 999.5) return `${bytes.toFixed(0)} B`;
  let value = bytes / 1e3;
  let unit = "kB";
  for (const larger of ["MB", "GB", "TB"]) {
    if (value >= 999.5) [value, unit] = [value / 1e3, larger];
  }
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${unit}`;
}

function energy(joules) {
  const [value, unit] = joules < 0.9995 ? [1e3 * joules, "mJ"] : [joules, "J"];
  return `${value.toPrecision(3)} ${unit}`;
}

/** The number of a guardrail in its own unit. */
export function reading(rail, value) {
  if (value === null) return NOTHING;
  if (rail.kind === "p95") return `${value.toPrecision(3)} ms`;
  if (rail.kind === "event") return percent(value, 2);
  if (rail.value === "clicks") return percent(value, 2);
  if (rail.value === "bytes") return size(value);
  if (rail.value === "joules") return energy(value);
  return value.toPrecision(3);
}

/** What a guardrail counts, in words. */
export function unit(rail) {
  if (rail.kind === "p95") return "a slow request";
  if (rail.kind === "event") return "of phones";
  return rail.per === "requests" ? "a request" : rail.per ? `a ${rail.per}` : "a phone";
}

export const days = (number) => `${number} ${number === 1 ? "day" : "days"}`;
