package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryScenarioCanBeRun(t *testing.T) {
	forms := map[string][]Scenario{
		"full": Matrix(false, false), "quick": Matrix(true, false), "smoke": Matrix(false, true),
	}
	for form, list := range forms {
		names := make(map[string]bool)
		for _, s := range list {
			require.False(t, names[s.Name], "%s: %s is there twice", form, s.Name)
			names[s.Name] = true
			require.NotEmpty(t, s.Group, s.Name)
			require.NotContains(t, s.Name, " ", "benchstat ends a name there")
			require.NotEmpty(t, s.Subjects, s.Name)
			needs := make(map[string]bool)
			for _, sub := range s.Needs() {
				needs[sub.Name] = true
			}
			for _, name := range s.Subjects {
				require.True(t, needs[name], "%s: there is no %s", s.Name, name)
			}
			if s.Server != "" {
				require.True(t, needs[s.Server], s.Name)
			}
			require.LessOrEqual(t, s.Active, s.Conns, s.Name)
		}
	}
	require.Less(t, len(forms["quick"]), len(forms["full"]))
	require.Less(t, len(forms["smoke"]), len(forms["quick"]))
}

func TestLimitServersAreNotAskedToWait(t *testing.T) {
	for _, s := range Matrix(false, false) {
		if strings.HasPrefix(s.Work, "sleep") {
			require.NotContains(t, s.Subjects, Epoll)
			require.NotContains(t, s.Subjects, Ring)
		}
	}
}

func TestScenariosThatCountFromThePeakNeedTheReference(t *testing.T) {
	s := Scenario{Kind: Echo, Subjects: []string{Net}, PeakShare: 0.5}
	var names []string
	for _, sub := range s.Needs() {
		names = append(names, sub.Name)
	}
	require.ElementsMatch(t, []string{Net, Reference}, names)
}

func TestFindNamesWhatItDoesNotFind(t *testing.T) {
	_, err := Find(Servers, "nobody")
	require.ErrorContains(t, err, "nobody")
}

func TestASubjectCanBeLeftOut(t *testing.T) {
	list := []Scenario{{Subjects: []string{Ring, Net}}, {Subjects: []string{Ring}}}
	rest := Without(list, Ring)
	require.Equal(t, []Scenario{{Subjects: []string{Net}}}, rest)
	require.Equal(t, []string{Ring, Net}, list[0].Subjects, "the plan stays as it is")
}

func TestShownScenariosHaveTheSubjectsOfTheirRows(t *testing.T) {
	shown := Shown(Matrix(false, false))
	require.Less(t, len(shown), 20)
	for _, row := range Rows {
		i := slices.IndexFunc(shown, func(s Scenario) bool { return s.Name == row.Scenario })
		require.GreaterOrEqual(t, i, 0, row.Scenario)
		require.Subset(t, shown[i].Subjects, []string{row.Subject, Net})
		if row.Limit != "" {
			require.Contains(t, shown[i].Subjects, row.Limit)
		}
	}
}
