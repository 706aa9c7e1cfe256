// Line drawings of 24 x 24, drawn here.

import { svg } from "./dom.js";

const PATHS = {
  brand: ["M7 17m-2.6 0a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0 -5.2 0", "M7 9.5a7.5 7.5 0 0 1 7.5 7.5", "M7 4a13 13 0 0 1 13 13"],
  home: ["M4 11.5 12 5l8 6.5", "M6.5 10v9h11v-9"],
  devices: ["M3.5 6h12v9h-12z", "M6.5 19h6", "M18 10h3v9h-3z"],
  sessions: ["M3 13h3.5l2.5-7 4.5 13 2.8-6H21"],
  apps: ["M4.5 4.5h6v6h-6z", "M13.5 4.5h6v6h-6z", "M4.5 13.5h6v6h-6z", "M13.5 13.5h6v6h-6z"],
  settings: ["M4 7h9m5 0h2", "M15.5 4.8v4.4", "M4 17h3m5 0h8", "M9.5 14.8v4.4"],
  logs: ["M5 6h14", "M5 10.5h9", "M5 15h14", "M5 19.5h6"],
  account: ["M12 8.5m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0", "M5 20a7 7 0 0 1 14 0"],
  ok: ["M5 12.5l4.5 4.5L19 7.5"],
  hint: ["M12 6v7", "M12 17v.5"],
  bad: ["M7 7l10 10", "M17 7L7 17"],
};

export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", class: `icon icon-${name}`, "aria-hidden": "true", focusable: "false" },
    PATHS[name].map((d) => svg("path", { d })),
  );
}
