{{/* Labels of every object; call with (dict "root" $ "component" "operator"). */}}
{{- define "gastown.labels" -}}
app.kubernetes.io/name: gastown
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: gastown
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* What selects a pod of ours; never changes, since selectors of a Deployment and a StatefulSet are immutable. */}}
{{- define "gastown.selector" -}}
app.kubernetes.io/name: gastown
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "gastown.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "gastown.repoUrl" -}}
{{ .Values.repoServer.url | default (printf "http://repo.%s.svc:8080" .Release.Namespace) | trimSuffix "/" }}
{{- end }}

{{- define "gastown.townNames" -}}
{{- $names := list }}{{ range .Values.towns }}{{ $names = append $names .name }}{{ end }}{{ join "," $names }}
{{- end }}

{{/* Pod and container settings that the restricted Pod Security standard asks for. */}}
{{- define "gastown.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "gastown.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The pod's own address: on a laptop many pods share one network, so nothing of ours listens on all addresses. */}}
{{- define "gastown.listenEnv" -}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- {name: GASTOWN_LISTEN_HOST, value: $(POD_IP)}
- {name: HOME, value: /var/tmp/gastown}
- {name: TMPDIR, value: /var/tmp/gastown}
{{- end }}

{{/* Admission: who asks, in CEL. An agent's ServiceAccount carries its name; so does its session pod, to which its token is bound. */}}
{{- define "gastown.fromAgent" -}}
request.userInfo.username.startsWith('system:serviceaccount:' + request.namespace + ':')
{{- end }}
{{- define "gastown.me" -}}
request.userInfo.username.split(':')[3]
{{- end }}
{{- define "gastown.podName" -}}
request.userInfo.?extra[?'authentication.kubernetes.io/pod-name'].orValue([''])[0]
{{- end }}
{{- define "gastown.podUid" -}}
request.userInfo.?extra[?'authentication.kubernetes.io/pod-uid'].orValue([''])[0]
{{- end }}
{{- define "gastown.operatorName" -}}
system:serviceaccount:{{ .Release.Namespace }}:operator
{{- end }}
{{- define "gastown.repoName" -}}
system:serviceaccount:{{ .Release.Namespace }}:repo
{{- end }}

{{/* Admission: the keys of spec that this request changes, in CEL. dyn: without it the type checker warns that a typed object is no range;
     it is one when this runs. */}}
{{- define "gastown.changedSpec" -}}
dyn(object).spec.filter(key, !(key in dyn(oldObject).spec) || dyn(object).spec[key] != dyn(oldObject).spec[key]) + dyn(oldObject).spec.filter(key, !(key in dyn(object).spec))
{{- end }}

{{/* Admission: puts a policy in force in the towns; call with (dict "root" $ "name" "gastown-agent-beads"). */}}
{{- define "gastown.townBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels: {{- include "gastown.labels" (dict "root" .root "component" "admission") | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
  {{- with .paramRef }}
  paramRef: {{- toYaml . | nindent 4 }}
  {{- end }}
  matchResources:
    namespaceSelector: {matchLabels: {gastown.dev/town: "true"}}
{{- end }}
