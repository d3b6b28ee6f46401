/** The page around the pages: who is signed in, and the way between the pages. */
import type { ComponentChild, FunctionComponent } from "preact";
import { DashboardsPage } from "./dashboards/page";
import { ExplorePage } from "./explore/page";
import { MonitorsPage } from "./monitors/page";
import { navigate, route } from "./router";
import { SendPage } from "./send/page";
import { may, maySend, session, signOut } from "./session";
import { mayManage, SettingsPage } from "./settings/page";
import { SignInPage } from "./sign-in";
import { StreamPage } from "./stream/page";
import { setTheme, type Theme, theme } from "./theme";
import { TracesPage } from "./traces/page";
import { Icon, type IconName } from "./ui/icons";
import { Menu } from "./ui/menu";
import { Toast } from "./ui/toast";

interface PageEntry {
  path: string;
  title: string;
  icon: IconName;
  page: () => ComponentChild;
  /** whether the session may do anything there */
  shown?: () => boolean;
}

const PAGES: PageEntry[] = [
  { path: "/explore", title: "Explore", icon: "explore", page: ExplorePage },
  { path: "/stream", title: "Stream", icon: "stream", page: StreamPage },
  { path: "/traces", title: "Traces", icon: "traces", page: TracesPage },
  {
    path: "/dashboards",
    title: "Dashboards",
    icon: "dashboards",
    page: DashboardsPage,
    shown: () => may("dashboards", "read"),
  },
  { path: "/monitors", title: "Monitors", icon: "monitors", page: MonitorsPage, shown: () => may("monitors", "read") },
  { path: "/send", title: "Send data", icon: "send", page: SendPage, shown: maySend },
  { path: "/settings", title: "Settings", icon: "settings", page: SettingsPage, shown: mayManage },
];

export function App() {
  if (session.value === undefined) return null;
  if (session.value === null || route.value.path === "/sign-in") return <SignInPage />;
  const pages = PAGES.filter((entry) => entry.shown?.() ?? true);
  const current = pages.find((entry) => route.value.path.startsWith(entry.path));
  if (!current) {
    navigate("/explore", {}, { replace: true });
    return null;
  }
  document.title = `${current.title} · Tailrace`;
  const Page = current.page as FunctionComponent;
  return (
    <div class="shell">
      <nav class="nav" aria-label="Pages">
        <a class="brand" href="#/explore">
          <img src="./tailrace/console/icon.svg" alt="" /> Tailrace
        </a>
        {pages.map((entry) => (
          <a
            key={entry.path}
            class="nav-link"
            href={`#${entry.path}`}
            aria-current={entry === current ? "page" : undefined}
          >
            <Icon name={entry.icon} size={17} /> {entry.title}
          </a>
        ))}
        <div class="nav-foot">
          <UserMenu />
        </div>
      </nav>
      <main class="page">
        <Page />
      </main>
      <Toast />
    </div>
  );
}

const THEMES: Record<Theme, string> = { system: "As the system is", light: "Light", dark: "Dark" };

function UserMenu() {
  const who = session.value;
  if (!who) return null;
  const name = who.kind === "personal" ? who.userName || who.role : "API token";
  return (
    <Menu
      className="button quiet"
      title="Account and appearance"
      label={
        <>
          <Icon name="user" /> <span class="who">{name}</span>
        </>
      }
    >
      {(close) => (
        <>
          {(Object.keys(THEMES) as Theme[]).map((each) => (
            <button
              key={each}
              type="button"
              class="menu-item"
              role="menuitemradio"
              aria-checked={theme.value === each}
              onClick={() => {
                setTheme(each);
                close();
              }}
            >
              {theme.value === each ? "●" : "○"} {THEMES[each]}
            </button>
          ))}
          <button type="button" class="menu-item" onClick={() => void signOut()}>
            Sign out
          </button>
        </>
      )}
    </Menu>
  );
}
