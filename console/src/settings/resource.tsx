/** Things of one kind that are listed, made, changed and deleted alike: a table and a form of their members. */
import { useState } from "preact/hooks";
import { ask } from "../api/http";
import { may } from "../session";
import { Deletion, FormDialog } from "../ui/dialog";
import { Shown, useLoaded } from "../ui/loaded";
import { type RecordColumn, Records } from "../ui/records";
import { say } from "../ui/toast";

export type ResourceRecord = Record<string, unknown> & { id: string };

export interface Member {
  name: string;
  title: string;
  /** text; area: of several lines; list: with commas between; json */
  kind: "text" | "area" | "list" | "json";
  hint?: string;
  /** of a new one */
  initial?: string;
  required?: boolean;
}

export interface Resource {
  /** such as "view" */
  noun: string;
  path: string;
  /** of the list, where that differs */
  listPath?: string;
  capability: string;
  members: Member[];
  columns: RecordColumn<ResourceRecord>[];
  empty: string;
  /** what deleting one means */
  deletion: string;
}

export function ResourceSettings({ resource }: { resource: Resource }) {
  const { capability, noun, path } = resource;
  const listed = useLoaded(() => ask<ResourceRecord[]>(resource.listPath ?? path), [path]);
  const [opened, setOpened] = useState<ResourceRecord | "new" | null>(null);
  const [deleting, setDeleting] = useState<ResourceRecord | null>(null);
  const done = (word: string) => {
    setOpened(null);
    listed.reload();
    say(word);
  };
  const pathOf = (record: ResourceRecord) => `${path}/${encodeURIComponent(record.id)}`;
  return (
    <>
      {may(capability, "create") && (
        <div class="row">
          <button type="button" class="button primary" onClick={() => setOpened("new")}>
            New {noun}
          </button>
        </div>
      )}
      <Shown of={listed}>
        {(found) => (
          <Records
            records={found}
            id={(record) => record.id}
            empty={resource.empty}
            columns={[
              ...resource.columns,
              {
                title: "",
                right: true,
                cell: (record) => (
                  <span class="row">
                    {may(capability, "update") && (
                      <button type="button" class="button small" onClick={() => setOpened(record)}>
                        Edit
                      </button>
                    )}
                    {may(capability, "delete") && (
                      <button type="button" class="button small danger" onClick={() => setDeleting(record)}>
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
      {opened && (
        <ResourceForm
          resource={resource}
          before={opened === "new" ? null : opened}
          onClose={() => setOpened(null)}
          onSubmit={async (body) => {
            if (opened === "new") await ask(path, { method: "POST", body });
            else await ask(pathOf(opened), { method: "PUT", body });
            done("Saved");
          }}
        />
      )}
      {deleting && (
        <Deletion
          title={`Delete the ${noun} ${String(deleting.name ?? deleting.title ?? deleting.id)}`}
          path={pathOf(deleting)}
          onDone={listed.reload}
          onClose={() => setDeleting(null)}
        >
          {resource.deletion}
        </Deletion>
      )}
    </>
  );
}

interface ResourceFormProps {
  resource: Resource;
  /** null for a new one */
  before: ResourceRecord | null;
  onSubmit: (body: Record<string, unknown>) => Promise<void>;
  onClose: () => void;
}

function ResourceForm({ resource, before, onSubmit, onClose }: ResourceFormProps) {
  const [texts, setTexts] = useState<Record<string, string>>(() =>
    Object.fromEntries(resource.members.map((member) => [member.name, textOf(member, before)])),
  );
  const faults = resource.members.filter((member) => !isSound(member, texts[member.name] ?? ""));
  return (
    <FormDialog
      title={before ? `Edit the ${resource.noun}` : `New ${resource.noun}`}
      action="Save"
      disabled={faults.length > 0}
      onClose={onClose}
      onSubmit={() =>
        onSubmit(
          Object.fromEntries(
            resource.members.map((member) => [member.name, memberValue(member, texts[member.name] ?? "")]),
          ),
        )
      }
    >
      {resource.members.map((member) => {
        const id = `member-${member.name}`;
        const common = {
          id,
          value: texts[member.name] ?? "",
          onInput: (event: { currentTarget: { value: string } }) =>
            setTexts({ ...texts, [member.name]: event.currentTarget.value }),
        };
        return (
          <label key={member.name} htmlFor={id}>
            {member.title}
            {member.hint && <span class="hint">{member.hint}</span>}
            {member.kind === "area" || member.kind === "json" ? (
              <textarea class="input mono" rows={member.kind === "json" ? 8 : 4} spellcheck={false} {...common} />
            ) : (
              <input class="input" {...common} />
            )}
          </label>
        );
      })}
    </FormDialog>
  );
}

function textOf(member: Member, before: ResourceRecord | null): string {
  const value = before?.[member.name];
  if (before === null || value === undefined || value === null) return member.initial ?? "";
  if (member.kind === "json") return JSON.stringify(value, null, 2);
  return Array.isArray(value) ? value.join(", ") : String(value);
}

/** Return the value of a text as the API takes it. */
export function memberValue(member: Member, text: string): unknown {
  if (member.kind === "json") return text.trim() ? (JSON.parse(text) as unknown) : undefined;
  if (member.kind !== "list") return text.trim();
  return text
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean);
}

/** Whether a text can be a member's. */
export function isSound(member: Member, text: string): boolean {
  if (member.required && !text.trim()) return false;
  try {
    memberValue(member, text);
    return true;
  } catch {
    return false;
  }
}
