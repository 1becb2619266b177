{{- define "service-center.pod" -}}
metadata:
  labels:
    {{- include "service-center.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A changed configuration restarts the nodes, one by one.
    checksum/config: {{ include (print $.Template.BasePath "/configmap.yaml") . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "service-center.serviceAccount" . }}
  automountServiceAccountToken: false
  # Otherwise a service called "server" sets SERVER_PORT.
  enableServiceLinks: false
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .Values.drain.gracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: service-center
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      ports:
        - name: http
          containerPort: 30100
        {{- if .Values.metrics.port }}
        - name: metrics
          containerPort: {{ .Values.metrics.port }}
        {{- end }}
      env:
        - name: POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        - name: SERVER_HOST
          value: {{ .Values.listenAddress | quote }}
        - name: REGISTRY_INSTANCE_ENDPOINT
          value: {{ .Values.advertisedEndpoint | quote }}
        {{- if and (eq .Values.store.kind "etcd") .Values.store.etcd.loginSecret }}
        - name: REGISTRY_ETCD_USERNAME
          valueFrom:
            secretKeyRef:
              name: {{ .Values.store.etcd.loginSecret }}
              key: username
        - name: REGISTRY_ETCD_PASSWORD
          valueFrom:
            secretKeyRef:
              name: {{ .Values.store.etcd.loginSecret }}
              key: password
        {{- end }}
        {{- if and .Values.accounts.enabled .Values.accounts.rootPasswordSecret }}
        - name: SC_INIT_ROOT_PASSWORD
          valueFrom:
            secretKeyRef:
              name: {{ .Values.accounts.rootPasswordSecret }}
              key: password
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      # The port opens when the node has listed the store. A node waits for an etcd that it cannot reach.
      startupProbe:
        {{- include "service-center.probe" (dict "root" . "path" "/v4/default/registry/health/readiness") | nindent 8 }}
        periodSeconds: 5
        failureThreshold: 60
      # 503 while the node starts or stops. 200 without etcd, because finds and watches go on.
      readinessProbe:
        {{- include "service-center.probe" (dict "root" . "path" "/v4/default/registry/health/readiness") | nindent 8 }}
        periodSeconds: 5
        failureThreshold: 2
      # Only whether the process answers. A restart would not bring etcd back.
      livenessProbe:
        {{- include "service-center.probe" (dict "root" . "path" "/version") | nindent 8 }}
        periodSeconds: 10
        failureThreshold: 6
      {{- if gt (int .Values.drain.seconds) 0 }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ .Values.drain.seconds }}
      {{- end }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: config
          mountPath: /opt/service-center/conf
          readOnly: true
        {{- if eq .Values.store.kind "embedded" }}
        - name: data
          mountPath: /var/lib/service-center
        {{- else if .Values.store.etcd.tls.secret }}
        - name: etcd-tls
          mountPath: /etc/service-center/etcd
          readOnly: true
        {{- end }}
        {{- if .Values.tls.enabled }}
        - name: tls
          mountPath: /etc/service-center/tls
          readOnly: true
        {{- end }}
        {{- if .Values.accounts.enabled }}
        - name: keys
          mountPath: /etc/service-center/keys
          readOnly: true
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "service-center.fullname" . }}
    {{- if and (eq .Values.store.kind "etcd") .Values.store.etcd.tls.secret }}
    - name: etcd-tls
      secret:
        secretName: {{ .Values.store.etcd.tls.secret }}
        defaultMode: 0440
    {{- end }}
    {{- if .Values.tls.enabled }}
    # The names that the daemon reads in ssl.dir.
    - name: tls
      secret:
        secretName: {{ .Values.tls.secret }}
        defaultMode: 0440
        items:
          - key: tls.crt
            path: server.cer
          - key: tls.key
            path: server_key.pem
          {{- if .Values.tls.verifyClient }}
          - key: ca.crt
            path: trust.cer
          {{- end }}
    {{- end }}
    {{- if .Values.accounts.enabled }}
    - name: keys
      secret:
        secretName: {{ .Values.accounts.keysSecret }}
        defaultMode: 0440
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- if .Values.topologySpreadConstraints }}
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "service-center.selectorLabels" $ | nindent 10 }}
    {{- end }}
    {{- end }}
{{- end -}}
