/** Icons, drawn in the colour of the text. */
const PATHS = {
  explore: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM16 16l4.5 4.5",
  stream: "M4 7h16M4 12h10M4 17h13",
  traces: "M4 6h9M8 12h10M11 18h6",
  monitors: "M6 16v-5a6 6 0 0 1 12 0v5l2 2H4zM10 20.500h4",
  dashboards: "M4 5h7v6H4zM13 5h7v10h-7zM4 13h7v6H4zM13 17h7v2h-7z",
  full: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  send: "M4 12l16-8-6 16-3-7z",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5",
  user: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20c1-4 4-5.5 7.5-5.5S18.500 16 19.500 20",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  stop: "M7 7h10v10H7z",
  history: "M5 12a7.500 7.500 0 1 1 2 5M5 18v-4h4M12 8v4.500l3 2",
  clock: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM12 8v4.500l3 2",
  close: "M6 6l12 12M18 6L6 18",
  chevron: "M7 10l5 5 5-5",
  fields: "M4 5h6v14H4zM14 5h6v14h-6z",
  copy: "M9 9h10v11H9zM5 15V4h10",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  back: "M14 6l-6 6 6 6",
  forward: "M10 6l6 6-6 6",
  share: "M10 14l9-9M13 5h6v6M18 14v5H5V6h5",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  zoomOut: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM16 16l4.500 4.500M8 11h6",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path
        d={PATHS[name]}
        fill="none"
        stroke="currentColor"
        stroke-width="1.8"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}
