// Holds a rendered dashboard against the types of @grafana/schema, made into JSON Schema: no field that Grafana does not
// know, no value it does not allow. `node check.mjs DASHBOARD.json`; the packages are found from the working directory.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const require = createRequire(join(process.cwd(), "package.json"));
const Ajv = require("ajv").default;
const { createGenerator } = require("ts-json-schema-generator");

const types = join(process.cwd(), "node_modules/@grafana/schema/dist/types");
const entry = join(process.cwd(), "entry.ts");
writeFileSync(
  entry,
  `import type * as dashboard from "${types}/raw/dashboard/x/types.gen";
import type * as common from "${types}/common/common.gen";
import type * as stat from "${types}/raw/composable/stat/panelcfg/x/types.gen";
import type * as timeseries from "${types}/raw/composable/timeseries/panelcfg/x/types.gen";
export type WholeDashboard = dashboard.Dashboard;
export type WholePanel = dashboard.Panel;
export type WholeRowPanel = dashboard.RowPanel;
export type WholeGraphFieldConfig = common.GraphFieldConfig;
export type StatOptions = stat.Options;
export type TimeSeriesOptions = timeseries.Options;
`,
);
const paths = { "@grafana/schema": [`${types}/index.d.ts`] };
const tsconfig = join(process.cwd(), "tsconfig.json");
writeFileSync(tsconfig, JSON.stringify({ compilerOptions: { strict: true, skipLibCheck: true, moduleResolution: "bundler", module: "esnext", baseUrl: ".", paths }, files: [entry] }));

const generator = createGenerator({ path: entry, tsconfig, skipTypeCheck: true, additionalProperties: false });
const schemas = {};
function holds(type, value) {
  schemas[type] ??= new Ajv({ strict: false, allErrors: true }).compile(
    generator.createSchema(type),
  );
  return schemas[type](value) ? [] : schemas[type].errors.map((error) => `${type}${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`);
}

// What a Prometheus annotation has besides belongs to Grafana's Prometheus data source; the schema says nothing of it.
const MARKS = ["expr", "step", "tagKeys", "textFormat", "titleFormat"];

function faults(dashboard) {
  const plain = structuredClone(dashboard);
  for (const annotation of plain.annotations.list) {
    if (annotation.datasource.type === "prometheus") for (const name of MARKS) delete annotation[name];
  }
  const found = [];
  for (const panel of plain.panels) {
    const of = (errors) => found.push(...errors.map((error) => `${panel.title}: ${error}`));
    if (panel.type === "row") {
      of(holds("WholeRowPanel", panel));
      continue;
    }
    of(holds("WholePanel", panel));
    if (panel.type === "stat") of(holds("StatOptions", panel.options));
    else if (panel.type === "timeseries") {
      of(holds("TimeSeriesOptions", panel.options));
      of(holds("WholeGraphFieldConfig", panel.fieldConfig.defaults.custom));
    } else found.push(`${panel.title}: type ${panel.type} is not checked here`);
  }
  found.push(...holds("WholeDashboard", plain));
  return found;
}

const dashboard = JSON.parse(readFileSync(process.argv[2], "utf8"));
const found = faults(dashboard);
for (const fault of found) console.error(fault);

// The check itself: each of these must be noticed.
const lines = dashboard.panels.findIndex((panel) => panel.type === "timeseries");
const figures = dashboard.panels.findIndex((panel) => panel.type === "stat");
const wrongs = {
  "a field of a dashboard": (broken) => (broken.refreshh = "30s"),
  "a field of a panel": (broken) => (broken.panels[lines].datasourcee = {}),
  "a missing title of a threshold": (broken) => delete broken.panels.find((panel) => panel.fieldConfig?.defaults.thresholds).fieldConfig.defaults.thresholds.steps[0].color,
  "an option of lines": (broken) => (broken.panels[lines].options.legend.placement = "top"),
  "an option of figures": (broken) => (broken.panels[figures].options.colorMode = "rainbow"),
  "a drawing style": (broken) => (broken.panels[lines].fieldConfig.defaults.custom.drawStyle = "dots"),
  "a kind of variable": (broken) => (broken.templating.list[0].type = "source"),
};
let unnoticed = 0;
for (const [name, change] of Object.entries(wrongs)) {
  const broken = structuredClone(dashboard);
  change(broken);
  if (faults(broken).length <= found.length) {
    console.error(`the check does not notice ${name}`);
    unnoticed += 1;
  }
}
console.log(`${dashboard.panels.length} rows and panels, ${found.length} faults, ${Object.keys(wrongs).length - unnoticed} of ${Object.keys(wrongs).length} wrongs noticed`);
process.exit(found.length + unnoticed > 0 ? 1 : 0);
