/** Datasets: made, described, kept for a time, trimmed, deleted; their fields. */
import { useState } from "preact/hooks";
import { aplDataset } from "../api/apl";
import { ask } from "../api/http";
import type { Dataset, Statistics } from "../datasets";
import { ago, bytes, count } from "../format/values";
import { hashOf } from "../router";
import { may, mayWith } from "../session";
import { Deletion, Dialog, FormDialog } from "../ui/dialog";
import { Shown, useLoaded } from "../ui/loaded";
import { Records } from "../ui/records";
import { say } from "../ui/toast";

type Opened = { what: "new" } | { what: "edit" | "delete" | "trim" | "fields"; dataset: Dataset };

interface Listed {
  datasets: Dataset[];
  statistics: Map<string, Statistics>;
}

const pathOf = (name: string) => `/v2/datasets/${encodeURIComponent(name)}`;

async function load(): Promise<Listed> {
  const [datasets, stats] = await Promise.all([
    ask<Dataset[]>("/v2/datasets"),
    ask<{ datasets: Statistics[] }>("/v1/datasets/_stats"),
  ]);
  return { datasets, statistics: new Map(stats.datasets.map((each) => [each.name, each])) };
}

export function DatasetSettings() {
  const listed = useLoaded(load, []);
  const [opened, setOpened] = useState<Opened | null>(null);
  const done = (word: string) => {
    setOpened(null);
    listed.reload();
    say(word);
  };
  const close = () => setOpened(null);
  return (
    <>
      {may("datasets", "create") && (
        <div class="row">
          <button type="button" class="button primary" onClick={() => setOpened({ what: "new" })}>
            New dataset
          </button>
        </div>
      )}
      <Shown of={listed}>
        {({ datasets, statistics }) => (
          <Records
            records={datasets}
            id={(each) => each.name}
            empty="There is no dataset yet."
            columns={[
              {
                title: "Name",
                cell: (each) => (
                  <>
                    <a href={hashOf("/explore", { q: aplDataset(each.name), start: "now-1h", end: "now" })}>
                      {each.name}
                    </a>
                    <div class="muted">{each.description}</div>
                  </>
                ),
              },
              { title: "Events", right: true, cell: (each) => count(statistics.get(each.name)?.numEvents ?? 0) },
              { title: "Received", right: true, cell: (each) => bytes(statistics.get(each.name)?.inputBytes ?? 0) },
              { title: "On disk", right: true, cell: (each) => bytes(statistics.get(each.name)?.compressedBytes ?? 0) },
              { title: "Last event", cell: (each) => lastEvent(statistics.get(each.name)) },
              { title: "Kept", cell: (each) => (each.useRetentionPeriod ? `${each.retentionDays} days` : "for good") },
              {
                title: "",
                right: true,
                cell: (dataset) => (
                  <span class="row">
                    <button type="button" class="button small" onClick={() => setOpened({ what: "fields", dataset })}>
                      Fields
                    </button>
                    {may("datasets", "update") && (
                      <button type="button" class="button small" onClick={() => setOpened({ what: "edit", dataset })}>
                        Edit
                      </button>
                    )}
                    {mayWith([dataset.name, "*"], "trim", "update") && (
                      <button type="button" class="button small" onClick={() => setOpened({ what: "trim", dataset })}>
                        Trim
                      </button>
                    )}
                    {may("datasets", "delete") && (
                      <button
                        type="button"
                        class="button small danger"
                        onClick={() => setOpened({ what: "delete", dataset })}
                      >
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
      {opened?.what === "new" && <DatasetForm before={null} onDone={() => done("Made")} onClose={close} />}
      {opened?.what === "edit" && <DatasetForm before={opened.dataset} onDone={() => done("Saved")} onClose={close} />}
      {opened?.what === "trim" && <TrimForm dataset={opened.dataset} onDone={() => done("Trimmed")} onClose={close} />}
      {opened?.what === "fields" && <FieldsDialog dataset={opened.dataset} onClose={close} />}
      {opened?.what === "delete" && (
        <Deletion
          title={`Delete ${opened.dataset.name}`}
          path={pathOf(opened.dataset.name)}
          typed={opened.dataset.name}
          action="Delete it and its events"
          onDone={listed.reload}
          onClose={close}
        >
          Its events are deleted for good. Clients that send to it are refused from then on.
        </Deletion>
      )}
    </>
  );
}

function lastEvent(known: Statistics | undefined): string {
  return known?.maxTime ? ago(Date.parse(known.maxTime), Date.now()) : "none";
}

interface DatasetFormProps {
  /** null for a new one */
  before: Dataset | null;
  onDone: () => void;
  onClose: () => void;
}

function DatasetForm({ before, onDone, onClose }: DatasetFormProps) {
  const [name, setName] = useState(before?.name ?? "");
  const [description, setDescription] = useState(before?.description ?? "");
  const [days, setDays] = useState(before?.useRetentionPeriod ? String(before.retentionDays) : "");
  return (
    <FormDialog
      title={before ? `Edit ${before.name}` : "New dataset"}
      action={before ? "Save" : "Make it"}
      disabled={!name.trim()}
      onClose={onClose}
      onSubmit={async () => {
        const retention = { retentionDays: days ? Number(days) : 0, useRetentionPeriod: days !== "" };
        if (before) await ask(pathOf(before.name), { method: "PUT", body: { description, ...retention } });
        else await ask("/v2/datasets", { method: "POST", body: { name: name.trim(), description, ...retention } });
        onDone();
      }}
    >
      {!before && (
        <label>
          Name
          <input class="input" value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
      )}
      <label>
        Description
        <textarea
          class="input"
          rows={3}
          value={description}
          onInput={(event) => setDescription(event.currentTarget.value)}
        />
      </label>
      <label>
        Days that events are kept
        <input
          class="input"
          type="number"
          min={1}
          placeholder="for good"
          value={days}
          onInput={(event) => setDays(event.currentTarget.value)}
        />
      </label>
    </FormDialog>
  );
}

interface TrimFormProps {
  dataset: Dataset;
  onDone: () => void;
  onClose: () => void;
}

function TrimForm({ dataset, onDone, onClose }: TrimFormProps) {
  const [days, setDays] = useState("30");
  return (
    <FormDialog
      title={`Trim ${dataset.name}`}
      action="Delete older events"
      danger
      disabled={!Number(days)}
      onClose={onClose}
      onSubmit={async () => {
        await ask(`/v2/datasets/${encodeURIComponent(dataset.name)}/trim`, {
          method: "POST",
          body: { maxDuration: `${Number(days) * 24}h` },
        });
        onDone();
      }}
    >
      <label>
        Delete events older than (days)
        <input
          class="input"
          type="number"
          min={1}
          value={days}
          onInput={(event) => setDays(event.currentTarget.value)}
        />
      </label>
    </FormDialog>
  );
}

interface FieldRecord {
  name: string;
  type: string;
  unit: string;
  hidden: boolean;
  description: string;
}

function FieldsDialog({ dataset, onClose }: { dataset: Dataset; onClose: () => void }) {
  const path = `${pathOf(dataset.name)}/fields`;
  const fields = useLoaded(() => ask<FieldRecord[]>(path), [dataset.name]);
  const hide = async (field: FieldRecord) => {
    await ask(`${path}/${encodeURIComponent(field.name)}`, { method: "PUT", body: { hidden: !field.hidden } });
    fields.reload();
  };
  return (
    <Dialog title={`Fields of ${dataset.name}`} onClose={onClose}>
      <Shown of={fields}>
        {(found) => (
          <Records
            records={found}
            id={(field) => field.name}
            empty="No event has come yet."
            columns={[
              { title: "Name", cell: (field) => <span class="mono">{field.name}</span> },
              { title: "Type", cell: (field) => field.type },
              { title: "Unit", cell: (field) => field.unit },
              {
                title: "Shown",
                cell: (field) => (
                  <input
                    type="checkbox"
                    aria-label={`Show ${field.name}`}
                    checked={!field.hidden}
                    disabled={!may("datasets", "update")}
                    onChange={() => void hide(field)}
                  />
                ),
              },
            ]}
          />
        )}
      </Shown>
      <div class="dialog-foot">
        <button type="button" class="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}
