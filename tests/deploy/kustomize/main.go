// Builds a kustomization as `kubectl kustomize` does and prints it, one document for each resource. What it knows the
// types of (ServiceMonitor) it reads strictly: a field that there is not, or of another type, is an error.
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
		if resource.GetKind() == "ServiceMonitor" {
			if err := yaml.UnmarshalStrict(text, &monitoring.ServiceMonitor{}); err != nil {
				fail(fmt.Errorf("ServiceMonitor %s: %w", resource.GetName(), err))
			}
		}
		fmt.Printf("---\n%s", text)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
