/** The settings whose things are managed alike: views, virtual fields, annotations, roles, groups. */
import { useEffect, useState } from "preact/hooks";
import { datasets, loadDatasets } from "../datasets";
import { may, mayWith } from "../session";
import { DatasetMenu } from "../ui/dataset-menu";
import { type Member, type Resource, type ResourceRecord, ResourceSettings } from "./resource";

const mono = (name: string) => (record: ResourceRecord) => <span class="mono">{String(record[name] ?? "")}</span>;
const text = (name: string) => (record: ResourceRecord) => String(record[name] ?? "");
const list = (name: string) => (record: ResourceRecord) => ((record[name] as string[] | undefined) ?? []).join(", ");
const NAME: Member = { name: "name", title: "Name", kind: "text", required: true };
const DESCRIPTION: Member = { name: "description", title: "Description", kind: "text" };
const DATASETS: Member = { name: "datasets", title: "Datasets", kind: "list", hint: "With commas between them" };

const VIEWS: Resource = {
  noun: "view",
  path: "/v2/views",
  may: (action) => may("views", action),
  members: [NAME, { name: "aplQuery", title: "Query", kind: "area", required: true }, DESCRIPTION, DATASETS],
  columns: [
    { title: "Name", cell: (record) => <b>{String(record.name)}</b> },
    { title: "Query", cell: mono("aplQuery") },
    { title: "Description", cell: text("description") },
  ],
  empty: "There is no view yet. A view is a query with a name, which others ask as if it were a dataset.",
  deletion: "Queries that name it fail from then on.",
};

const ANNOTATIONS: Resource = {
  noun: "annotation",
  path: "/v2/annotations",
  may: (action) => may("annotations", action),
  members: [
    { name: "title", title: "Title", kind: "text" },
    {
      name: "type",
      title: "Type",
      kind: "text",
      hint: "Such as deploy or incident",
      initial: "deploy",
      required: true,
    },
    { ...DATASETS, required: true },
    { name: "time", title: "Time", kind: "text", hint: "RFC 3339", initial: "", required: true },
    DESCRIPTION,
    { name: "url", title: "Address of more", kind: "text" },
  ],
  columns: [
    { title: "Time", cell: mono("time") },
    { title: "Title", cell: (record) => <b>{String(record.title || record.type)}</b> },
    { title: "Type", cell: text("type") },
    { title: "Datasets", cell: list("datasets") },
  ],
  empty: "There is no annotation yet. Charts draw one as a line at its time.",
  deletion: "Charts draw it no more.",
};

const CAPABILITIES = '{"*": {"ingest": ["create"], "query": ["read"]}}';

const ROLES: Resource = {
  noun: "role",
  path: "/v2/rbac/roles",
  may: (action) => may("rbac", action),
  members: [
    NAME,
    DESCRIPTION,
    {
      name: "datasetCapabilities",
      title: "What it may do with datasets",
      kind: "namedCapabilities",
      scope: "dataset",
      initial: CAPABILITIES,
    },
    { name: "orgCapabilities", title: "What it may do in the organisation", kind: "capabilities" },
    { name: "viewCapabilities", title: "What it may do with views", kind: "namedCapabilities", scope: "view" },
  ],
  columns: [
    { title: "Name", cell: (record) => <b>{String(record.name)}</b> },
    { title: "Description", cell: text("description") },
    { title: "Users", right: true, cell: (record) => ((record.members as string[] | undefined) ?? []).length },
  ],
  empty: "There is no role beside the built-in ones.",
  deletion: "Users who have it may do nothing by it from then on.",
};

const GROUPS: Resource = {
  noun: "group",
  path: "/v2/rbac/groups",
  may: (action) => may("rbac", action),
  members: [
    NAME,
    DESCRIPTION,
    { name: "members", title: "Users", kind: "list", hint: "Their ids, with commas between them" },
    { name: "roles", title: "Roles", kind: "list", hint: "Their ids, with commas between them" },
  ],
  columns: [
    { title: "Name", cell: (record) => <b>{String(record.name)}</b> },
    { title: "Description", cell: text("description") },
    { title: "Users", right: true, cell: (record) => ((record.members as string[] | undefined) ?? []).length },
    { title: "Roles", cell: list("roles") },
  ],
  empty: "There is no group yet. Its members have its roles beside their own.",
  deletion: "Its members lose the roles that they have by it.",
};

export function ViewSettings() {
  return <ResourceSettings resource={VIEWS} />;
}

export function AnnotationSettings() {
  const members = ANNOTATIONS.members.map((each) =>
    each.name === "time" ? { ...each, initial: new Date().toISOString() } : each,
  );
  return <ResourceSettings resource={{ ...ANNOTATIONS, members }} />;
}

export function RoleSettings() {
  useEffect(() => void loadDatasets(), []);
  return (
    <>
      <h2>Roles</h2>
      <ResourceSettings resource={ROLES} />
      <h2>Groups</h2>
      <ResourceSettings resource={GROUPS} />
    </>
  );
}

export function VirtualFieldSettings() {
  const [chosen, setChosen] = useState("");
  useEffect(() => void loadDatasets(), []);
  const offered = datasets.value.filter(({ name }) => mayWith([name, "*"], "virtualFields", "read"));
  const dataset = chosen || offered[0]?.name;
  if (!dataset) return <p class="empty">There is no dataset yet.</p>;
  const resource: Resource = {
    noun: "virtual field",
    path: "/v2/vfields",
    listPath: `/v2/vfields?dataset=${encodeURIComponent(dataset)}`,
    may: (action) => mayWith([dataset, "*"], "virtualFields", action),
    members: [
      { name: "dataset", title: "Dataset", kind: "text", initial: dataset, required: true },
      NAME,
      {
        name: "expression",
        title: "Expression",
        kind: "area",
        hint: "In APL, such as strcat(service, ' ', level)",
        required: true,
      },
      { name: "unit", title: "Unit", kind: "text" },
      DESCRIPTION,
    ],
    columns: [
      { title: "Name", cell: (record) => <b>{String(record.name)}</b> },
      { title: "Expression", cell: mono("expression") },
      { title: "Description", cell: text("description") },
    ],
    empty: `${dataset} has no virtual field. One is computed by an expression wherever a query names it.`,
    deletion: "Queries that name it find nothing there from then on.",
  };
  return (
    <>
      <div class="row">
        <DatasetMenu chosen={dataset} offered={offered} onChoose={setChosen} />
      </div>
      <ResourceSettings key={dataset} resource={resource} />
    </>
  );
}
