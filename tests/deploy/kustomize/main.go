// Builds a kustomization as `kubectl kustomize` does and prints it, one document for each resource. What it knows the
// types of (ServiceMonitor, PodMonitor) it reads strictly: a field that there is not, or of another type, is an error.
//
//	go run . ../../../deploy/kubernetes
package main

import (
	"fmt"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

var types = map[string]func() any{
	"ServiceMonitor": func() any { return &monitoring.ServiceMonitor{} },
	"PodMonitor":     func() any { return &monitoring.PodMonitor{} },
}

func main() {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), os.Args[1])
	if err != nil {
		fail(err)
	}
	for _, resource := range built.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			fail(err)
		}
		if known, found := types[resource.GetKind()]; found {
			if err := yaml.UnmarshalStrict(text, known()); err != nil {
				fail(fmt.Errorf("%s %s: %w", resource.GetKind(), resource.GetName(), err))
			}
		}
		fmt.Printf("---\n%s", text)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
