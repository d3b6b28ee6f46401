/** Notifiers: where monitors tell. */
import { useState } from "preact/hooks";
import { ApiError, ask } from "../api/http";
import { may } from "../session";
import { Deletion, FormDialog } from "../ui/dialog";
import { Shown, useLoaded } from "../ui/loaded";
import { Records } from "../ui/records";
import { say } from "../ui/toast";
import type { Notifier } from "./types";

/** The kinds that can be made here, with their properties. */
const KINDS: Record<string, { title: string; properties: Record<string, string> }> = {
  webhook: { title: "Webhook", properties: { url: "URL" } },
  slack: { title: "Slack", properties: { slackUrl: "URL of the incoming webhook" } },
  email: { title: "Email", properties: { emails: "Addresses, with commas between them" } },
  discordWebhook: { title: "Discord", properties: { discordWebhookUrl: "URL of the webhook" } },
  microsoftTeams: { title: "Microsoft Teams", properties: { microsoftTeamsUrl: "URL of the webhook" } },
  pagerduty: { title: "PagerDuty", properties: { routingKey: "Routing key" } },
  opsgenie: { title: "Opsgenie", properties: { apiKey: "API key" } },
};

const PATH = "/v2/notifiers";

export function NotifierSettings() {
  const notifiers = useLoaded(() => ask<Notifier[]>(PATH), []);
  const [making, setMaking] = useState(false);
  const [deleting, setDeleting] = useState<Notifier | null>(null);
  const made = () => {
    setMaking(false);
    notifiers.reload();
    say("Made");
  };
  return (
    <>
      {may("notifiers", "create") && (
        <div class="row">
          <button type="button" class="button primary" onClick={() => setMaking(true)}>
            New notifier
          </button>
        </div>
      )}
      <Shown of={notifiers}>
        {(found) => (
          <Records
            records={found}
            id={(each) => each.id}
            empty="There is no notifier yet."
            columns={[
              { title: "Name", cell: (each) => <b>{each.name}</b> },
              { title: "Kind", cell: (each) => kindOf(each) },
              { title: "Where", cell: (each) => <span class="mono">{whereOf(each)}</span> },
              {
                title: "",
                right: true,
                cell: (each) => (
                  <span class="row">
                    {may("notifiers", "update") && (
                      <button type="button" class="button small" onClick={() => void test(each)}>
                        Test
                      </button>
                    )}
                    {may("notifiers", "delete") && (
                      <button type="button" class="button small danger" onClick={() => setDeleting(each)}>
                        Delete
                      </button>
                    )}
                  </span>
                ),
              },
            ]}
          />
        )}
      </Shown>
      {making && <NotifierForm onDone={made} onClose={() => setMaking(false)} />}
      {deleting && (
        <Deletion
          title={`Delete ${deleting.name}`}
          path={`${PATH}/${deleting.id}`}
          onDone={notifiers.reload}
          onClose={() => setDeleting(null)}
        >
          Monitors that name it tell nobody there from then on.
        </Deletion>
      )}
    </>
  );
}

/** Deliver a test, and say what became of it. */
async function test(notifier: Notifier): Promise<void> {
  try {
    const path = `/tailrace/v1/notifiers/${encodeURIComponent(notifier.id)}/test`;
    const { delivered, reason } = await ask<{ delivered: boolean; reason: string }>(path, { method: "POST" });
    say(delivered ? `Delivered to ${notifier.name}` : `Not delivered: ${reason}`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(error.message);
  }
}

function kindOf(notifier: Notifier): string {
  const kind = Object.keys(notifier.properties)[0] ?? "";
  return KINDS[kind]?.title ?? kind;
}

function whereOf(notifier: Notifier): string {
  const properties = Object.values(notifier.properties)[0] ?? {};
  const value = properties.url ?? properties.slackUrl ?? properties.emails ?? properties.discordWebhookUrl ?? "";
  return Array.isArray(value) ? value.join(", ") : String(value).slice(0, 80);
}

function NotifierForm({ onDone, onClose }: { onDone: () => void; onClose: () => void }) {
  const [name, setName] = useState("");
  const [kind, setKind] = useState("webhook");
  const [values, setValues] = useState<Record<string, string>>({});
  const properties = KINDS[kind]?.properties ?? {};
  const isComplete = Object.keys(properties).every((each) => values[each]?.trim());
  return (
    <FormDialog
      title="New notifier"
      action="Make it"
      disabled={!name.trim() || !isComplete}
      onClose={onClose}
      onSubmit={async () => {
        const given = Object.fromEntries(
          Object.keys(properties).map((each) => {
            const text = (values[each] ?? "").trim();
            return [each, each === "emails" ? text.split(",").map((one) => one.trim()) : text];
          }),
        );
        await ask(PATH, { method: "POST", body: { name: name.trim(), properties: { [kind]: given } } });
        onDone();
      }}
    >
      <label>
        Name
        <input class="input" value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <label>
        Kind
        <select class="input" value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
          {Object.entries(KINDS).map(([id, { title }]) => (
            <option key={id} value={id}>
              {title}
            </option>
          ))}
        </select>
      </label>
      {Object.entries(properties).map(([property, label]) => (
        <label key={property}>
          {label}
          <input
            class="input"
            value={values[property] ?? ""}
            onInput={(event) => setValues({ ...values, [property]: event.currentTarget.value })}
          />
        </label>
      ))}
    </FormDialog>
  );
}
