/** Settings: what is managed, and how the server is. */
import type { FunctionComponent } from "preact";
import { hashOf, route } from "../router";
import { may, mayWithAny, session } from "../session";
import { AuditSettings } from "./audit";
import { DatasetSettings } from "./datasets";
import { HealthSettings } from "./health";
import { KeySettings } from "./keys";
import { OrganisationSettings } from "./organisations";
import { AnnotationSettings, RoleSettings, ViewSettings, VirtualFieldSettings } from "./resources";
import { TokenSettings } from "./tokens";
import { UserSettings } from "./users";

interface Tab {
  id: string;
  title: string;
  shown: () => boolean;
  page: FunctionComponent;
}

const TABS: Tab[] = [
  { id: "datasets", title: "Datasets", shown: () => may("datasets", "read"), page: DatasetSettings },
  { id: "tokens", title: "Tokens", shown: () => may("apiTokens", "read"), page: TokenSettings },
  { id: "keys", title: "Keys", shown: () => may("apiTokens", "read"), page: KeySettings },
  { id: "users", title: "Users", shown: () => may("users", "read"), page: UserSettings },
  {
    id: "organisations",
    title: "Organisations",
    shown: () => session.value?.kind === "personal",
    page: OrganisationSettings,
  },
  { id: "roles", title: "Roles and groups", shown: () => may("rbac", "read"), page: RoleSettings },
  {
    id: "vfields",
    title: "Virtual fields",
    shown: () => mayWithAny("virtualFields", "read"),
    page: VirtualFieldSettings,
  },
  { id: "views", title: "Views", shown: () => may("views", "read"), page: ViewSettings },
  { id: "annotations", title: "Annotations", shown: () => may("annotations", "read"), page: AnnotationSettings },
  { id: "health", title: "Health", shown: () => may("server", "read"), page: HealthSettings },
  { id: "audit", title: "Audit trail", shown: () => may("auditLog", "read"), page: AuditSettings },
];

/** Whether the session may manage anything. */
export function mayManage(): boolean {
  return TABS.some((tab) => tab.shown());
}

export function SettingsPage() {
  const id = route.value.path.split("/")[2];
  const tabs = TABS.filter((tab) => tab.shown());
  const current = tabs.find((tab) => tab.id === id) ?? tabs[0];
  const Page = current?.page;
  return (
    <div class="document">
      <h1>Settings</h1>
      <p class="muted">Organisation {session.value?.organisation}</p>
      <nav class="tabs" aria-label="Settings">
        {tabs.map((tab) => (
          <a
            key={tab.id}
            class="tab"
            href={hashOf(`/settings/${tab.id}`)}
            aria-current={tab === current ? "page" : undefined}
          >
            {tab.title}
          </a>
        ))}
      </nav>
      {Page ? <Page /> : <p class="empty">This token may not manage anything.</p>}
    </div>
  );
}
